package probe

import (
	"os"

	thread "github.com/meshtables/meshtables/iptables/internal/identity"
)

// identity is a user and group.
type identity struct{ uid, gid uint32 }

// as calls f with this user and group, on the calling goroutine's thread, to which it
// must be locked. If the program is that user already, it needs no privilege, and the
// group is its own.
func (id identity) as(f func() error) error {
	if int(id.uid) == os.Geteuid() {
		return f()
	}
	return thread.As(id.uid, id.gid, f)
}
