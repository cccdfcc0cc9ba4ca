package iptables

import (
	"fmt"
	"net/netip"
	"testing"
)

func TestPrefixesOfInterval(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ first, last, want string }{
		{"10.1.2.3", "10.1.2.3", "[10.1.2.3/32]"},
		{"10.1.0.0", "10.1.255.255", "[10.1.0.0/16]"},
		{"10.1.1.0", "10.1.9.255", "[10.1.1.0/24 10.1.2.0/23 10.1.4.0/22 10.1.8.0/23]"},
		{"0.0.0.0", "255.255.255.255", "[0.0.0.0/0]"},
		{"0.0.0.1", "0.0.0.6", "[0.0.0.1/32 0.0.0.2/31 0.0.0.4/31 0.0.0.6/32]"},
		{"2001:db8:1::", "2001:db8:2:ffff:ffff:ffff:ffff:ffff", "[2001:db8:1::/48 2001:db8:2::/48]"},
	} {
		i := Interval{Value(netip.MustParseAddr(test.first).AsSlice()), Value(netip.MustParseAddr(test.last).AsSlice())}
		if got := fmt.Sprint(i.Prefixes()); got != test.want {
			t.Errorf("%s to %s: got %s, want %s", test.first, test.last, got, test.want)
		}
	}
	// All but the first and the last address: one prefix a bit from either end.
	most := Interval{Value(netip.MustParseAddr("::1").AsSlice()), Value(netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe").AsSlice())}
	if got := len(most.Prefixes()); got != 2*127 {
		t.Errorf("got %d prefixes, want %d", got, 2*127)
	}
}
