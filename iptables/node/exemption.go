package node

import (
	"net/netip"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/installed"
)

// exemption tells whose traffic rules leave alone because of who sends it. It asks the rules
// themselves, with a packet: they exempt by users and groups, by ranges of them, and by groups
// other than some.
type exemption struct {
	rules *iptables.Ruleset
	// captured is a packet that the rules capture.
	captured iptables.Packet
	// groups are those that the rules name, and one that they do not.
	groups []uint32
}

// maxTried bounds how many values that rules name are tried in each field of a packet.
const maxTried = 16

// exemptionOf returns that of rules which are all ours. It is nil if they capture nothing that
// is sent.
func exemptionOf(rules *iptables.Ruleset) *exemption {
	ordinary := explain.OrdinaryID(installed.Alone(*rules, iptables.Ownership{}))
	for _, f := range iptables.Families() {
		groups := []uint32{ordinary}
		for _, named := range limited(rules.Named(f, iptables.OwnerGID)) {
			first, _ := named.IDs()
			groups = append(groups, first)
		}
		for p := range outbound(rules, f) {
			for _, group := range groups {
				e := &exemption{rules, p, groups}
				if !e.has(ordinary, group) {
					return e
				}
			}
		}
	}
	return nil
}

// outbound yields connections to other machines: to addresses and ports that no rule names, and
// to those that rules name.
func outbound(rules *iptables.Ruleset, f iptables.Family) func(yield func(iptables.Packet) bool) {
	// RFC 5737, RFC 3849.
	source, elsewhere := netip.MustParseAddr("192.0.2.77"), netip.MustParseAddr("203.0.113.77")
	if f == iptables.IPv6 {
		source, elsewhere = netip.MustParseAddr("2001:db8::77"), netip.MustParseAddr("2001:db8:7::77")
	}
	destinations, ports := []netip.Addr{elsewhere}, []uint16{8080}
	for _, named := range limited(rules.Named(f, iptables.DestinationAddress)) {
		first, _ := named.Addresses()
		destinations = append(destinations, first)
	}
	for _, named := range limited(rules.Named(f, iptables.DestinationPort)) {
		ports = append(ports, named.Ports().First)
	}
	return func(yield func(iptables.Packet) bool) {
		for _, to := range destinations {
			for _, port := range ports {
				p := iptables.Packet{
					Hook: iptables.Output, Protocol: iptables.TCP, State: iptables.StateNew, Out: "eth0",
					Source: source, SourcePort: 40000, SourceType: "LOCAL",
					Destination: to, DestinationPort: port, DestinationType: "UNICAST",
				}
				if !to.IsLoopback() && !yield(p) {
					return
				}
			}
		}
	}
}

func limited(named []iptables.Interval) []iptables.Interval {
	return named[:min(len(named), maxTried)]
}

// has reports whether what a user sends in a group is left alone.
func (e *exemption) has(uid, gid uint32) bool {
	p := e.captured
	p.Owner = &iptables.SocketOwner{UID: uid, GID: gid}
	return !explain.Walk(e.rules, p).Verdict.IsCaptured()
}

// hasUser reports whether what a user sends is left alone in every group, and in any.
func (e *exemption) hasUser(uid uint32) (always, ever bool) {
	captured := func(gid uint32) bool { return !e.has(uid, gid) }
	exempt := func(gid uint32) bool { return e.has(uid, gid) }
	return !slices.ContainsFunc(e.groups, captured), slices.ContainsFunc(e.groups, exempt)
}
