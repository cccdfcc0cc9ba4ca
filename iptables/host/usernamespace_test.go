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
}

// Of another user namespace the ids are those of a process in it.
func TestMappedIDsOfAnother(t *testing.T) {
	nstest.EnterShifted(t)
	maps, err := MappedIDs(nstest.Here(t))
	if err != nil || !maps.Users.Has(65535) || !maps.Groups.Has(65535) || maps.Users.Has(nstest.ShiftedIDs) || maps.From == "" {
		t.Errorf("got %+v, %v", maps, err)
	}
}
