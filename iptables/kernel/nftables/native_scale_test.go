package nftables

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
)

// scattered is a plan with one list of n ports that do not touch.
func scattered(n int) iptables.Plan {
	list := iptables.List{Field: iptables.DestinationPort}
	for i := range n {
		port := iptables.Port(uint16(2*i + 1))
		if i%10 == 0 {
			// A range now and then keeps the set from being a hash table.
			port.Last++
		}
		list.Given = append(list.Given, iptables.PortInterval(port))
	}
	return planOfLists(list)
}

// prefixes is a plan with one list of n CIDRs of either family, of which some overlap.
func prefixes(n int) iptables.Plan {
	var lists []iptables.List
	for _, f := range iptables.Families() {
		list := iptables.List{Field: iptables.DestinationAddress}
		for i := range n {
			cidr := fmt.Sprintf("10.%d.%d.0/%d", i/256, i%256, 24+i%9)
			if f == iptables.IPv6 {
				cidr = fmt.Sprintf("2001:db8:%x::/%d", i, 40+i%9)
			}
			list.Given = append(list.Given, iptables.PrefixInterval(netip.MustParsePrefix(cidr)))
		}
		lists = append(lists, list)
	}
	return planOfLists(lists...)
}

// planOfLists returns a plan that lets go what each list has, of ports for both families.
func planOfLists(lists ...iptables.List) iptables.Plan {
	p := iptables.Plan{Families: iptables.Families()}
	t := p.Table(iptables.Nat)
	for i, list := range lists {
		r := iptables.PlannedRule{Rule: iptables.Rule{Matches: []iptables.Match{list}, Target: iptables.Return}}
		if list.Field == iptables.DestinationPort {
			r.Protocol.Protocol = iptables.TCP
		} else {
			r.Family = p.Families[i]
		}
		t.Append("ISTIO_OUTPUT", r)
	}
	t.Append(iptables.Output, iptables.PlannedRule{Rule: iptables.Rule{Target: iptables.Jump{Chain: "ISTIO_OUTPUT"}}})
	return p
}

// Tens of thousands of ports and prefixes are a few rules, which go in one
// transaction and are read back as they were wanted.
func TestNativeLarge(t *testing.T) {
	for name, plan := range map[string]iptables.Plan{"ports": scattered(30000), "prefixes": prefixes(10000)} {
		t.Run(name, func(t *testing.T) {
			nstest.Enter(t)
			start := time.Now()
			want := NewNative(nil, owned).Form(plan)
			formed := time.Now()
			nativeReplace(t, want)
			written := time.Now()
			have := nativeLoad(t)
			t.Logf("formed in %v, written in %v, loaded in %v",
				formed.Sub(start), written.Sub(formed), time.Since(written))
			if !ownEqual(have, want) {
				t.Error("what is loaded is not what was wanted")
			}
			if n := strings.Count(text(want), "\n-A "); n > 4 {
				t.Errorf("%d rules", n)
			}
			unchanged(t, func() { nativeReplace(t, want) })
			nativeNothing(t)
		})
	}
}

// BenchmarkNativeWrite has the sizes of BenchmarkWrite, the making of the native
// form included.
func BenchmarkNativeWrite(b *testing.B) {
	for _, n := range []int{3, 1000, 10000} {
		for name, plans := range map[string][]iptables.Plan{
			"ports":    {scattered(n), scattered(n + 1)},
			"prefixes": {prefixes(n), prefixes(n + 1)},
		} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				inNamespace(b, func(t testing.TB) {
					for i := range b.N {
						nativeReplace(t, NewNative(nil, owned).Form(plans[i%2]))
					}
				})
			})
		}
	}
}
