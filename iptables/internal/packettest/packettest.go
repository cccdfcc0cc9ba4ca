// Package packettest makes up packets for tests that compare how two rulesets handle
// them. It is for tests only.
package packettest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
)

// Values are the values of each part of a packet that a ruleset can distinguish: its
// constants and their neighbours.
type Values struct {
	addresses  []netip.Addr
	ports      []uint16
	interfaces []string
	ids        []uint32
	owners     []*iptables.SocketOwner
	marks      []uint32
}

// ValuesOf collects the values of one family from the rules.
func ValuesOf(f iptables.Family, rulesets ...*iptables.Ruleset) *Values {
	v := &Values{
		ports:      []uint16{0, 1, 53, 80, 15053, ^uint16(0)},
		interfaces: []string{"lo", "eth0"},
		owners:     []*iptables.SocketOwner{nil},
		ids:        []uint32{0, 1000},
		marks:      []uint32{0},
	}
	v.addAddresses(iptables.PrefixInterval(netip.MustParsePrefix(map[iptables.Family]string{
		iptables.IPv4: "203.0.113.9/32", iptables.IPv6: "2001:db8:cafe::9/128",
	}[f])))
	for _, rs := range rulesets {
		for _, table := range rs.Tables {
			if table.Family != f {
				continue
			}
			for _, chain := range table.Chains {
				for _, rule := range chain.Rules {
					v.addRule(rule)
				}
			}
		}
	}
	v.ids = compact(v.ids)
	for _, uid := range v.ids {
		for _, gid := range v.ids {
			v.owners = append(v.owners, &iptables.SocketOwner{UID: uid, GID: gid})
		}
	}
	v.ports, v.interfaces, v.marks = compact(v.ports), compact(v.interfaces), compact(v.marks)
	return v
}

func (v *Values) addRule(r iptables.Rule) {
	for _, f := range iptables.SetFields() {
		for _, values := range r.Named(f) {
			v.add(f, values)
		}
	}
	for _, m := range r.Matches {
		switch m := m.(type) {
		case iptables.Multiport: // of either port too
			for _, p := range m.Ports {
				v.addPorts(p)
			}
		case iptables.Mark:
			v.addMarks(m.Value, m.Mask)
		case iptables.Connmark:
			v.addMarks(m.Value, m.Mask)
		}
	}
}

// addMarks adds a mark and its neighbours, and the mark with all bits beyond the mask.
func (v *Values) addMarks(value, mask uint32) {
	v.marks = append(v.marks, value-1, value, value+1, value|^mask)
}

func (v *Values) add(f iptables.SetField, values iptables.Interval) {
	switch f {
	case iptables.SourceAddress, iptables.DestinationAddress:
		v.addAddresses(values)
	case iptables.InInterface, iptables.OutInterface:
		if name, ok := values.Interface(); ok {
			v.interfaces = append(v.interfaces, name)
		}
	case iptables.SourcePort, iptables.DestinationPort:
		v.addPorts(values.Ports())
	case iptables.OwnerUID, iptables.OwnerGID:
		first, last := values.IDs()
		v.ids = append(v.ids, first-1, first, last, last+1)
	}
}

func (v *Values) addAddresses(values iptables.Interval) {
	first, last := values.Addresses()
	for _, a := range []netip.Addr{first.Prev(), first, last, last.Next()} {
		if a.IsValid() {
			v.addresses = append(v.addresses, a)
		}
	}
}

func (v *Values) addPorts(r iptables.PortRange) {
	v.ports = append(v.ports, r.First-1, r.First, r.Last, r.Last+1)
}

func compact[T int | uint16 | uint32 | string](values []T) []T {
	slices.Sort(values)
	return slices.Compact(values)
}

// Packet makes up a packet that the kernel could really see: an incoming one has no
// owner, an outgoing one no incoming interface.
func (v *Values) Packet(random *rand.Rand) iptables.Packet {
	p := iptables.Packet{
		Hook:            iptables.Prerouting,
		Protocol:        iptables.TCP,
		Source:          pick(random, v.addresses),
		Destination:     pick(random, v.addresses),
		SourcePort:      pick(random, v.ports),
		DestinationPort: pick(random, v.ports),
		State:           iptables.StateNew,
	}
	if random.IntN(4) == 0 {
		p.Protocol = pick(random, []iptables.Protocol{iptables.UDP, iptables.UDP, "icmp"})
	}
	if random.IntN(4) == 0 {
		p.State = pick(random, []iptables.CTState{iptables.StateEstablished, iptables.StateRelated, iptables.StateInvalid})
	}
	if random.IntN(3) == 0 {
		p.Mark = pick(random, v.marks)
	}
	if random.IntN(3) == 0 {
		p.ConnMark = pick(random, v.marks)
	}
	if random.IntN(2) == 0 {
		p.In = pick(random, v.interfaces)
		if p.In != "lo" {
			// A mark does not leave the namespace (skb_scrub_packet in
			// net/core/skbuff.c).
			p.Mark = 0
		}
		return p
	}
	p.Hook, p.Out = iptables.Output, pick(random, v.interfaces)
	p.Owner = pick(random, v.owners)
	return p
}

func pick[T any](random *rand.Rand, from []T) T { return from[random.IntN(len(from))] }

// Fate is everything that a walk does to a packet.
func Fate(r explain.Result) string {
	return fmt.Sprintf("%s port %d, mark %#x, connection mark %#x, zone %d", r.Verdict, r.Port, r.Mark, r.ConnMark, r.Zone)
}

// Path is the way of a packet, a line for each rule.
func Path(r explain.Result) string {
	var text strings.Builder
	for _, s := range r.Path {
		fmt.Fprintf(&text, "  %s %s %d: %s\n", s.Table, s.Chain, s.Position, s.Rule)
	}
	return text.String()
}
