package sidecar

import (
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
)

// optionExcludedUIDs is the one whose items are about two fields.
const optionExcludedUIDs = "--excluded-uids"

// excludedUsers lets traffic of applications go that have to do without the proxy.
// Their DNS queries are exempt with the rest, or alone, by protocol and port.
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
// ports, and what matches that list for a protocol: items that are alike but for their
// users, or else but for their ports.
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

// sameUsers reports whether items are about the same users, and both about ports.
func sameUsers(a, b UserTraffic) bool {
	return a.Protocol == b.Protocol && a.First == b.First && a.Last == b.Last && a.Ports != (iptables.PortRange{})
}

// protocolsOf returns the protocols that an item has rules for. Ports are those of one.
func protocolsOf(t UserTraffic) []iptables.Protocol {
	if t.Protocol == "" && t.Ports != (iptables.PortRange{}) {
		return []iptables.Protocol{iptables.TCP, iptables.UDP}
	}
	return []iptables.Protocol{t.Protocol}
}

// usersOf matches the users of items whose traffic is that of t.
func usersOf(t UserTraffic, proto iptables.Protocol, items []UserTraffic) capture.Condition {
	users := capture.Match(userList(items))
	if t.Ports != (iptables.PortRange{}) {
		return capture.All(capture.ToPorts(proto, t.Ports), users)
	}
	return capture.All(capture.Protocol(proto), users)
}

func userList(items []UserTraffic) iptables.List {
	return iptables.List{Field: iptables.OwnerUID, Given: capture.Intervals(items, userInterval), Names: texts(items, UserTraffic.String)}
}

func userInterval(t UserTraffic) iptables.Interval {
	return iptables.IDInterval(t.First, t.Last)
}

// portsOf matches the ports of items whose users are those of t.
func portsOf(t UserTraffic, proto iptables.Protocol, items []UserTraffic) capture.Condition {
	toPorts := func(t UserTraffic) iptables.Interval { return iptables.PortInterval(t.Ports) }
	list := iptables.List{Field: iptables.DestinationPort, Given: capture.Intervals(items, toPorts), Names: texts(items, UserTraffic.String)}
	user := iptables.Owner{UID: iptables.IDMatch{First: t.First, Last: t.Last, Set: true}}
	return capture.All(capture.Protocol(proto), capture.Match(list), capture.Match(user))
}

// isTwin reports whether a rule is the second one for items that have two: of ports without
// a protocol.
func isTwin(r *iptables.Rule) bool {
	return r.Protocol.Protocol == iptables.UDP && !hasProtocol(r)
}

// hasProtocol reports whether the items that a rule is about name its protocol.
func hasProtocol(r *iptables.Rule) bool {
	return strings.HasPrefix(r.Origin.Value, string(r.Protocol.Protocol)+":")
}

// excludedUsersOf undoes userRun for a rule of which not all items were stored: it returns
// items that make the same rule again. There are two at least, which tell whether it is
// about a list of users or of ports: one that came alone could be of the next run.
func excludedUsersOf(r *iptables.Rule) []UserTraffic {
	t := UserTraffic{Protocol: r.Protocol.Protocol}
	listed := r.Origin.Items()
	if !hasProtocol(r) {
		t.Protocol = ""
	}
	users, ports := r.Named(iptables.OwnerUID), r.Named(iptables.DestinationPort)
	if len(users) == 0 {
		// Somebody has changed it.
		return nil
	}
	var items []UserTraffic
	switch {
	case len(ports) == 0:
		for _, v := range users {
			t.First, t.Last = v.IDs()
			items = append(items, t)
		}
	case len(listed) > 1 && trafficOf(listed[0]) != trafficOf(listed[1]):
		t.First, t.Last = users[0].IDs()
		for _, v := range atLeastTwo(ports) {
			t.Ports = v.Ports()
			items = append(items, t)
		}
	default:
		t.Ports = ports[0].Ports()
		for _, v := range atLeastTwo(users) {
			t.First, t.Last = v.IDs()
			items = append(items, t)
		}
	}
	return items
}

// trafficOf returns an item without its users.
func trafficOf(item string) string { return item[:strings.LastIndex(item, ":")+1] }

// atLeastTwo parts a list of one interval of several values.
func atLeastTwo(list []iptables.Interval) []iptables.Interval {
	if len(list) != 1 || list[0].First == list[0].Last {
		return list
	}
	first, rest := list[0], list[0]
	first.Last = first.First
	rest.First, _ = first.Last.Next()
	return []iptables.Interval{first, rest}
}
