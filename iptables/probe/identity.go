package probe

import (
	"fmt"
	"os"

	"github.com/meshtables/meshtables/iptables/explain"
	thread "github.com/meshtables/meshtables/iptables/internal/identity"
)

// identity is a user and group, and the mark of what they send, which is 0 unless the proxy
// is known by one.
type identity struct{ uid, gid, mark uint32 }

// newProxy returns the identity of a proxy, with a group that no rule names.
func newProxy(x explain.Proxy, gid uint32) identity {
	who := identity{gid: gid, mark: x.Mark}
	if x.Owner != nil {
		who.uid = x.Owner.UID
	}
	return who
}

// isUnlike reports whether rules about who sends can tell two identities apart.
func (id identity) isUnlike(other identity) bool { return id.uid != other.uid || id.mark != other.mark }

// String returns "user 1337" or, of a proxy known by it, "the proxy (mark 0x539)".
func (id identity) String() string {
	if id.mark != 0 {
		return fmt.Sprintf("the proxy (mark %#x)", id.mark)
	}
	return fmt.Sprintf("user %d", id.uid)
}

// as calls f with this user and group, on the calling goroutine's thread, to which it
// must be locked. If the program is that user already, it needs no privilege, and the
// group is its own.
func (id identity) as(f func() error) error {
	if int(id.uid) == os.Geteuid() {
		return f()
	}
	return thread.As(id.uid, id.gid, f)
}
