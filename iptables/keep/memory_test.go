package keep_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/keep"
)

// What others add and take away counts. A set that is gone or empty gets back what it had, as far
// as these are pods; nil stands for a set that is gone.
func TestMemory(t *testing.T) {
	t.Parallel()
	a, b, c := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")
	none, gone := []netip.Addr{}, []netip.Addr(nil)
	pods := func(all ...netip.Addr) map[netip.Addr]bool {
		m := make(map[netip.Addr]bool)
		for _, a := range all {
			m[a] = true
		}
		return m
	}
	type step struct{ have, want []netip.Addr }
	for name, test := range map[string]struct {
		pods  map[netip.Addr]bool
		steps []step
	}{
		"others change it":           {nil, []step{{none, none}, {[]netip.Addr{a, b}, []netip.Addr{a, b}}, {[]netip.Addr{b, c}, []netip.Addr{b, c}}, {[]netip.Addr{c}, []netip.Addr{c}}, {none, none}, {none, none}}},
		"gone":                       {pods(), []step{{[]netip.Addr{a}, []netip.Addr{a}}, {gone, []netip.Addr{a}}, {gone, []netip.Addr{a}}, {[]netip.Addr{a, b}, []netip.Addr{a, b}}}},
		"flushed, nobody knows":      {nil, []step{{[]netip.Addr{a, b}, []netip.Addr{a, b}}, {none, []netip.Addr{a, b}}, {[]netip.Addr{a, b}, []netip.Addr{a, b}}}},
		"flushed, some are pods":     {pods(a, c), []step{{[]netip.Addr{a, b}, []netip.Addr{a, b}}, {none, []netip.Addr{a}}, {[]netip.Addr{a}, []netip.Addr{a}}}},
		"emptied, as all have ended": {pods(c), []step{{[]netip.Addr{a, b}, []netip.Addr{a, b}}, {none, none}, {none, none}}},
		"flushed, one pod":           {pods(a), []step{{[]netip.Addr{a}, []netip.Addr{a}}, {none, []netip.Addr{a}}}},
	} {
		m := keep.Memory{Pods: func() map[netip.Addr]bool { return test.pods }}
		for i, s := range test.steps {
			var sets []iptables.AddressSet
			if s.have != nil {
				sets = []iptables.AddressSet{{Family: iptables.IPv4, Name: "pods", Addresses: s.have}}
			}
			if got := m.Recall(sets); !slices.Equal(got, s.want) {
				t.Errorf("%s, step %d: got %v, want %v", name, i+1, got, s.want)
			}
		}
	}
}
