// Package foreign judges what the rules of others do to the traffic that ours capture, or give
// another source address. It makes up packets that our rules alone do that to, ordinary ones and those that
// foreign rules name, and walks them through everything that they meet. Foreign rules are
// not ours to change or reorder; callers only report them.
package foreign

import (
	"fmt"
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/installed"
)

// Situation is where rules are judged.
type Situation struct {
	Path *installed.Path
	// Addresses are the namespace's, with the lengths of their prefixes.
	Addresses []netip.Prefix
	// Interfaces are the namespace's, apart from lo. If there are none, any may come.
	Interfaces []string
	// NameServers are those that the pod asks.
	NameServers []netip.Addr
	// Proxy returns the proxy as far as it is known.
	Proxy func(iptables.Family) explain.Proxy
}

// Finding is what foreign rules do to a kind of traffic that our rules alone capture.
type Finding struct {
	explain.Interference
	Family iptables.Family
	// Direction is "in" or "out".
	Direction string
	// Traffic is the kind of traffic, such as "tcp", or "tcp to 10.96.0.1:443".
	Traffic string
	// Packet is one of it.
	Packet iptables.Packet
	// Command takes the foreign rule away.
	Command string
}

// IsHarm reports whether packets that should be captured are not, or do not arrive. It is
// false where nobody can tell.
func (f Finding) IsHarm() bool { return f.Effect != explain.Unclear }

// String returns a sentence such as "IPv4 out, tcp: dropped by foreign rule 1 of filter
// OUTPUT: -p tcp -j DROP".
func (f Finding) String() string {
	return fmt.Sprintf("%s %s, %s: %s", f.Family, f.Direction, f.Traffic, f.Interference)
}

// Judge returns a finding for each foreign rule, or policy, and kind of traffic that it
// keeps from the proxy, or may. There are none if foreign rules make no difference to the
// packets that our rules capture.
func Judge(s Situation) []Finding {
	var all []Finding
	for _, f := range iptables.Families() {
		j := judge{Situation: s, family: f}
		j.run()
		all = append(all, j.all...)
	}
	return all
}

// IsOn reports whether packets on a path meet anything foreign that could matter.
func IsOn(path *installed.Path) bool {
	for _, f := range iptables.Families() {
		j := judge{Situation: Situation{Path: path}, family: f}
		if j.hasForeign() {
			return true
		}
	}
	return false
}
