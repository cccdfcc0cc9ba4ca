package capture

import (
	"net/netip"
	"testing"
)

// Prefixes that are every address together are told as such, also if small ones among them get
// lost beside the sum of the others.
func TestWholeOfUnequalParts(t *testing.T) {
	t.Parallel()
	// half returns the upper half of the prefix of zeros that is one bit shorter.
	half := func(bits int) netip.Prefix {
		var a [16]byte
		a[(bits-1)/8] = 0x80 >> ((bits - 1) % 8)
		return netip.PrefixFrom(netip.AddrFrom16(a), bits)
	}
	var parts []netip.Prefix
	for bits := 1; bits <= 53; bits++ {
		parts = append(parts, half(bits))
	}
	for quarter := range byte(4) {
		parts = append(parts, netip.PrefixFrom(netip.AddrFrom16([16]byte{6: quarter << 1}), 55))
	}
	s := Selection{IPv6: IPv6On}
	if got := s.whole(parts); got != "IPv6" {
		t.Errorf("all: got %q", got)
	}
	if got := s.whole(parts[:len(parts)-1]); got != "" {
		t.Errorf("without one: got %q", got)
	}
}
