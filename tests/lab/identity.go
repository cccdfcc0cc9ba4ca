package lab

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Identity is the user and group that a socket belongs to. The zero Identity is
// root. A user that is not 0 has no capabilities.
type Identity struct{ UID, GID uint32 }

// String returns "uid 1337 gid 1337".
func (who Identity) String() string { return fmt.Sprintf("uid %d gid %d", who.UID, who.GID) }

// assume makes only the calling thread act as who. The thread cannot change back and must
// not go back to the runtime.
//
// xt_owner compares the credentials of the thread that made the socket, by socket(2) or
// accept(2) (net/netfilter/xt_owner.c: sk_socket->file->f_cred). The functions of syscall
// and unix change every thread of the process, see nptl(7), so it makes the system calls
// directly. Supplementary groups go first: with --suppl-groups xt_owner looks at them
// too, and the user cannot drop them later.
func (who Identity) assume() error {
	if who == (Identity{}) {
		return nil
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
		return fmt.Errorf("failed to drop supplementary groups: %w", errno)
	}
	gid, uid := uintptr(who.GID), uintptr(who.UID)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, gid, gid, gid); errno != 0 {
		return fmt.Errorf("failed to become %s: %w", who, errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); errno != 0 {
		return fmt.Errorf("failed to become %s: %w", who, errno)
	}
	return nil
}
