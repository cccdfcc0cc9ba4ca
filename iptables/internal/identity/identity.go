// Package identity lets one thread open sockets as another user.
package identity

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// As calls f as a user and group on the calling thread, to which the goroutine must be
// locked, and then changes back. The match "owner" looks at the file system ids that a
// socket was made with (net/netfilter/xt_owner.c). Each thread has its own, so no process
// is needed.
func As(uid, gid uint32, f func() error) error {
	ownUID, ownGID := uint32(unix.Geteuid()), uint32(unix.Getegid())
	if err := set(uid, gid); err != nil {
		_ = set(ownUID, ownGID)
		return fmt.Errorf("becoming user %d, group %d takes CAP_SETUID and CAP_SETGID: %w", uid, gid, err)
	}
	err := f()
	return errors.Join(err, set(ownUID, ownGID))
}

// set changes the file system ids of the calling thread. The system calls report no
// error, only the previous id; a second call checks (setfsuid(2)).
func set(uid, gid uint32) error {
	err := unix.Setfsgid(int(gid))
	if errors.Is(err, unix.ENOSYS) {
		return setEffective(uid, gid)
	}
	if err != nil {
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

// setEffective changes the effective ids of the calling thread, for gVisor, which has no
// setfsuid(2). The functions of package syscall would change those of all threads. The group comes
// first on the way there, and last on the way back: who is not root may not change it.
func setEffective(uid, gid uint32) error {
	group := func() error { return setID(unix.SYS_SETRESGID, gid) }
	user := func() error { return setID(unix.SYS_SETRESUID, uid) }
	if unix.Geteuid() != 0 {
		group, user = user, group
	}
	if err := group(); err != nil {
		return err
	}
	return user()
}

// setID changes an effective id, and leaves the real and the saved one.
func setID(call uintptr, id uint32) error {
	if _, _, errno := unix.RawSyscall(call, ^uintptr(0), uintptr(id), ^uintptr(0)); errno != 0 {
		return errno
	}
	return nil
}
