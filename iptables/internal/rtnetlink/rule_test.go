package rtnetlink

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables/internal/netlink"
)

// A rule that asks for what only a newer kernel knows asks for more than the mark.
func TestUnknownAttribute(t *testing.T) {
	t.Parallel()
	for kind, want := range map[uint16]bool{unix.FRA_PAD: false, unix.FRA_DPORT_RANGE + 1: true, 1000: true} {
		var b netlink.Builder
		b.PutNativeUint32(unix.FRA_FWMARK, 7)
		b.PutBytes(kind, []byte{1})
		r, ok := decodeRule(make([]byte, ruleSize), b.Bytes())
		if !ok || r.Mark != 7 || r.More != want || r.Unknown != want {
			t.Errorf("attribute %d: got %+v, %t", kind, r, ok)
		}
	}
}
