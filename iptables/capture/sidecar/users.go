package sidecar

import (
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
)

// optionExcludedUIDs is the option whose items are about two fields.
const optionExcludedUIDs = "--excluded-uids"

// excludedUsers exempts traffic of applications that must not use the proxy. Their DNS
// queries are exempt with the rest, or alone, by protocol and port.
func (p *planner) excludedUsers(nat *iptables.PlannedTable) {
	why := capture.FromList(optionExcludedUIDs)
	for all := p.cfg.ExcludedUIDs; len(all) > 0; {
		n, of := userRun(all)
		var rules []iptables.PlannedRule
		for _, proto := range protocolsOf(all[0]) {
			rules = append(rules, why.Rule(iptables.Return, of(proto)))
		}
		nat.Append(chainOutput, iptables.Each(rules...)...)
		all = all[n:]
	}
}

// userRun returns how many items at the beginning of a list make one list of users, or of
// ports, and a condition that matches that list for a protocol. The items differ in their
// users only, or else in their ports only.
func userRun(all []UserTraffic) (n int, of func(iptables.Protocol) capture.Condition) {
	first := all[0]
	same := func(is func(a, b UserTraffic) bool) {
		for n < len(all) && is(all[n], first) {
			n++
		}
	}
	same(sameTraffic)
	if n > 1 || first.Ports == (iptables.PortRange{}) {
		return n, func(proto iptables.Protocol) capture.Condition { return usersOf(first, proto, all[:n]) }
	}
	same(sameUsers)
	return n, func(proto iptables.Protocol) capture.Condition { return portsOf(first, proto, all[:n]) }
}

func sameTraffic(a, b UserTraffic) bool { return a.Protocol == b.Protocol && a.Ports == b.Ports }

// sameUsers reports whether two items have the same users, and both have ports.
func sameUsers(a, b UserTraffic) bool {
	return a.Protocol == b.Protocol && a.First == b.First && a.Last == b.Last && a.Ports != (iptables.PortRange{})
}

// protocolsOf returns the protocols that an item has rules for. A rule about ports is for
// one protocol.
func protocolsOf(t UserTraffic) []iptables.Protocol {
	if t.Protocol == "" && t.Ports != (iptables.PortRange{}) {
		return []iptables.Protocol{iptables.TCP, iptables.UDP}
	}
	return []iptables.Protocol{t.Protocol}
}

// usersOf matches the users of items that have the traffic of t.
func usersOf(t UserTraffic, proto iptables.Protocol, items []UserTraffic) capture.Condition {
	users := capture.Match(userList(items))
	if t.Ports != (iptables.PortRange{}) {
		return capture.All(capture.ToPorts(proto, t.Ports), users)
	}
	return capture.All(capture.Protocol(proto), users)
}

func userList(items []UserTraffic) iptables.List {
	return iptables.List{Field: iptables.OwnerUID, Given: capture.Intervals(items, userInterval), Names: capture.Texts(items, UserTraffic.String)}
}

func userInterval(t UserTraffic) iptables.Interval {
	return iptables.IDInterval(t.First, t.Last)
}

// portsOf matches the ports of items that have the users of t.
func portsOf(t UserTraffic, proto iptables.Protocol, items []UserTraffic) capture.Condition {
	toPorts := func(t UserTraffic) iptables.Interval { return iptables.PortInterval(t.Ports) }
	list := iptables.List{Field: iptables.DestinationPort, Given: capture.Intervals(items, toPorts), Names: capture.Texts(items, UserTraffic.String)}
	user := iptables.Owner{UID: iptables.IDMatch{First: t.First, Last: t.Last, Set: true}}
	return capture.All(capture.Protocol(proto), capture.Match(list), capture.Match(user))
}
