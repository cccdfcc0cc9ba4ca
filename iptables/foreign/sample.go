package foreign

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
)

// sample is a packet of a kind of traffic.
type sample struct {
	// kind is the kind of traffic, such as "tcp" or "dns queries".
	kind string
	// plain is the ordinary packet of the kind, packet the one in question.
	plain, packet iptables.Packet
}

func newSample(kind string, ordinary iptables.Packet) sample {
	return sample{kind, ordinary, ordinary}
}

const (
	// clientPort is one as the kernel gives it to clients.
	clientPort = 40000
	// defaultInterface is the usual name of a pod's interface.
	defaultInterface = "eth0"
	// maxListed bounds how many values of one of our lists are tried.
	maxListed = 16
)

// elsewhere returns addresses of other machines (RFC 5737, RFC 2544, RFC 3849).
func elsewhere() map[iptables.Family][]netip.Addr {
	return map[iptables.Family][]netip.Addr{
		iptables.IPv4: {
			netip.MustParseAddr("203.0.113.77"), netip.MustParseAddr("198.51.100.77"), netip.MustParseAddr("192.0.2.77"), netip.MustParseAddr("198.18.7.7"),
		},
		iptables.IPv6: {netip.MustParseAddr("2001:db8::cafe:1"), netip.MustParseAddr("2001:db8:7::1"), netip.MustParseAddr("2001:2::1")},
	}
}

// freeAddress returns an address of another machine, if possible one that no rule names.
func (j *judge) freeAddress() netip.Addr {
	all := elsewhere()[j.family]
	named := slices.Concat(j.named(iptables.DestinationAddress), j.named(iptables.SourceAddress))
	at := slices.IndexFunc(all, func(a netip.Addr) bool {
		v := iptables.Value(a.AsSlice())
		return !slices.ContainsFunc(named, func(i iptables.Interval) bool { return len(i.First) == len(v) && i.Contains(v) })
	})
	return all[max(at, 0)]
}

// named returns the values of a field that rules of the family name.
func (j *judge) named(f iptables.SetField) []iptables.Interval {
	var all []iptables.Interval
	for _, t := range j.Path.Tables(j.family) {
		for _, c := range t.Chains {
			for _, r := range c.Rules {
				all = append(all, r.Named(f)...)
			}
		}
	}
	return all
}

// samples returns ordinary packets in both directions, and those that our own rules name:
// some rules capture only these.
func (j *judge) samples(own *iptables.Ruleset) []sample {
	id, elsewhere := explain.OrdinaryID(j.Path), j.freeAddress()
	in := iptables.Packet{
		Hook: iptables.Prerouting, Protocol: iptables.TCP, State: iptables.StateNew, In: j.iface(),
		Source: elsewhere, SourcePort: clientPort, SourceType: "UNICAST",
		Destination: j.address(), DestinationPort: j.freePort(own), DestinationType: "LOCAL",
	}
	out := iptables.Packet{
		Hook: iptables.Output, Protocol: iptables.TCP, State: iptables.StateNew, Out: j.iface(),
		Owner:  &iptables.SocketOwner{UID: id, GID: id},
		Source: j.address(), SourcePort: clientPort, SourceType: "LOCAL",
		Destination: elsewhere, DestinationPort: in.DestinationPort, DestinationType: "UNICAST",
	}
	all := []sample{newSample(string(iptables.TCP), in), newSample(string(iptables.TCP), out)}
	all = append(all, j.listed(in, own)...)
	all = append(all, j.listed(out, own)...)
	for _, server := range append(j.servers(own), elsewhere) {
		query := out
		query.Destination, query.DestinationPort = server, iptables.DNSPort
		if server.IsLoopback() {
			query.Out, query.Source, query.DestinationType = explain.Loopback, server, "LOCAL"
		}
		all = append(all, newSample("dns over tcp", query))
		query.Protocol = iptables.UDP
		all = append(all, newSample("dns", query))
	}
	return all
}

// listed returns the packet with values that our rules name.
func (j *judge) listed(p iptables.Packet, own *iptables.Ruleset) []sample {
	var all []sample
	for _, field := range iptables.SetFields() {
		named := own.Named(j.family, field)
		for _, values := range named[:min(len(named), maxListed)] {
			s := newSample(string(p.Protocol), p).copy()
			if j.set(&s.packet, field, []iptables.Interval{values}, false) {
				all = append(all, s)
			}
		}
	}
	return all
}

func (j *judge) iface() string {
	if len(j.Interfaces) == 0 || slices.Contains(j.Interfaces, defaultInterface) {
		return defaultInterface
	}
	return j.Interfaces[0]
}

// address returns the namespace's address of the family or, if it has none, some address.
func (j *judge) address() netip.Addr {
	if own := j.Path.Ownership.Reachable(j.family, j.Addresses); len(own) > 0 {
		return own[0]
	}
	return elsewhere()[j.family][0].Next()
}

// freePort returns a port that no rule names.
func (j *judge) freePort(own *iptables.Ruleset) uint16 {
	named := append(own.Named(j.family, iptables.DestinationPort), j.named(iptables.DestinationPort)...)
	port := uint16(8080)
	for slices.ContainsFunc(named, func(i iptables.Interval) bool {
		return i.Ports().Contains(port) && i.Ports().Last-i.Ports().First < 1000
	}) && port < 9080 {
		port++
	}
	return port
}

// servers returns name servers of the family.
func (j *judge) servers(own *iptables.Ruleset) []netip.Addr {
	var all []netip.Addr
	for _, a := range j.NameServers {
		if iptables.FamilyOf(a) == j.family {
			all = append(all, a)
		}
	}
	for _, values := range own.Named(j.family, iptables.DestinationAddress) {
		if first, last := values.Addresses(); first == last && len(all) < maxListed {
			all = append(all, first)
		}
	}
	return all
}

// copy returns a sample that can be changed.
func (s sample) copy() sample {
	if s.packet.Owner != nil {
		owner := *s.packet.Owner
		s.packet.Owner = &owner
	}
	return s
}

func (s sample) direction() string {
	if s.packet.Hook == iptables.Output {
		return "out"
	}
	return "in"
}

// traffic says which traffic it is: all of its kind if it is the ordinary packet, and
// otherwise what it differs in from that.
func (s sample) traffic() string {
	p, b := s.packet, s.plain
	var words []string
	add := func(differs bool, format string, args ...any) {
		if differs {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	add(p.Source != b.Source, "from %s", p.Source)
	add(p.SourcePort != b.SourcePort, "from port %d", p.SourcePort)
	add(p.Destination != b.Destination, "to %s", p.Destination)
	add(p.DestinationPort != b.DestinationPort, "to port %d", p.DestinationPort)
	add(p.In != b.In, "in by %s", p.In)
	add(p.Out != b.Out, "out by %s", p.Out)
	if p.Owner != nil && b.Owner != nil {
		add(p.Owner.UID != b.Owner.UID, "of user %d", p.Owner.UID)
		add(p.Owner.GID != b.Owner.GID, "of group %d", p.Owner.GID)
	}
	kind := s.kind
	if p.DestinationPort != b.DestinationPort {
		kind = string(p.Protocol)
	}
	return strings.TrimSpace(kind + " " + strings.Join(words, ", "))
}

func (s sample) key() trial {
	p := s.packet
	t := trial{
		hook: p.Hook, protocol: p.Protocol, source: p.Source.String(), destination: p.Destination.String(),
		sourcePort: p.SourcePort, destinationPort: p.DestinationPort, in: p.In, out: p.Out,
	}
	if p.Owner != nil {
		t.owner = *p.Owner
	}
	return t
}
