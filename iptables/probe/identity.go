package probe

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// identity is a user and group.
type identity struct{ uid, gid uint32 }

// as calls f with the user and group of this identity. The match "owner" looks at
// the file system ids that a socket was made with (net/netfilter/xt_owner.c), and
// those are the thread's own, so no process has to be started. The calling
// goroutine must be locked to its thread.
//
// Whoever is that user already needs no privilege; the group is then its own.
func (id identity) as(f func() error) error {
	uid, gid := uint32(unix.Geteuid()), uint32(unix.Getegid())
	if id.uid == uid {
		return f()
	}
	if err := setFilesystemIDs(id.uid, id.gid); err != nil {
		_ = setFilesystemIDs(uid, gid)
		return fmt.Errorf("becoming user %d takes CAP_SETUID and CAP_SETGID: %w", id.uid, err)
	}
	err := f()
	return errors.Join(err, setFilesystemIDs(uid, gid))
}

// setFilesystemIDs changes ids of the calling thread. The system calls report no
// error, only the id before; asking again tells (setfsuid(2)).
func setFilesystemIDs(uid, gid uint32) error {
	if err := unix.Setfsgid(int(gid)); err != nil {
		return err
	}
	if err := unix.Setfsuid(int(uid)); err != nil {
		return err
	}
	const ask = -1
	nowUID, _ := unix.SetfsuidRetUid(ask)
	nowGID, _ := unix.SetfsgidRetGid(ask)
	if uint32(nowUID) != uid || uint32(nowGID) != gid {
		return unix.EPERM
	}
	return nil
}
