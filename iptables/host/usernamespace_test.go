package host

import (
	"os"
	"testing"

	"github.com/meshtables/meshtables/iptables/internal/nstest"
)

// Those who run this exist where their network namespace belongs, which is their
// own user namespace.
func TestMappedIDs(t *testing.T) {
	t.Parallel()
	maps, err := MappedIDs(nstest.Here(t))
	if err != nil || !maps.Users.Has(uint32(os.Getuid())) || !maps.Groups.Has(uint32(os.Getgid())) {
		t.Errorf("got %+v, %v", maps, err)
	}
	if id, ok := maps.User(4711); !ok || id != 4711 {
		t.Errorf("our own user 4711 is %d, %t", id, ok)
	}
}

// Of another user namespace the ids are those of a process in it.
func TestMappedIDsOfAnother(t *testing.T) {
	nstest.EnterShifted(t)
	maps, err := MappedIDs(nstest.Here(t))
	if err != nil || !maps.Users.Has(65535) || !maps.Groups.Has(65535) || maps.Users.Has(nstest.ShiftedIDs) || maps.From == "" {
		t.Errorf("got %+v, %v", maps, err)
	}
	if id, ok := maps.User(nstest.ShiftedIDs + 7); !ok || id != 7 {
		t.Errorf("its user 7 is %d, %t", id, ok)
	}
	if id, ok := maps.Group(7); ok {
		t.Errorf("a group that is not there is %d", id)
	}
	// Whoever else is in the network namespace need not be in the user namespace.
	if found, err := MappedIDs(nstest.Here(t), "/proc/self", maps.From); err != nil || found.From != maps.From {
		t.Errorf("by its processes: %+v, %v", found, err)
	}
}
