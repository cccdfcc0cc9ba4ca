package sidecar

import (
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
)

// isTwin reports whether a rule is the second of two for the same items: ports without a
// protocol have two.
func isTwin(r *iptables.Rule) bool {
	return r.Protocol.Protocol == iptables.UDP && !hasProtocol(r)
}

// hasProtocol reports whether the items of a rule name its protocol.
func hasProtocol(r *iptables.Rule) bool {
	return strings.HasPrefix(r.Origin.Value, string(r.Protocol.Protocol)+":")
}

// excludedUsersIn returns the items of --excluded-uids that the rules of nat were stored
// with. One family has them all.
func excludedUsersIn(own *iptables.Ruleset) []string {
	var items []string
	for _, f := range own.Families() {
		t := own.Table(f, iptables.Nat)
		if t == nil {
			continue
		}
		for _, c := range t.Chains {
			for _, r := range c.Rules {
				switch {
				case r.Origin.Option != optionExcludedUIDs || isTwin(&r):
				case r.Origin.Value != "" && !r.Origin.IsShortened():
					items = append(items, strings.Split(r.Origin.Value, ",")...)
				default:
					items = append(items, capture.Texts(excludedUsersOf(&r), UserTraffic.String)...)
				}
			}
		}
		break
	}
	return items
}

// excludedUsersOf undoes userRun for a rule whose items were not all stored: it returns
// items that make the same rule again. It returns at least two, which show whether the
// list is of users or of ports: one alone could belong to the next run.
func excludedUsersOf(r *iptables.Rule) []UserTraffic {
	t := UserTraffic{Protocol: r.Protocol.Protocol}
	listed := r.Origin.Items()
	if !hasProtocol(r) {
		t.Protocol = ""
	}
	users, ports := r.Named(iptables.OwnerUID), r.Named(iptables.DestinationPort)
	if len(users) == 0 {
		// Somebody changed it.
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

// atLeastTwo splits a list of one interval of several values.
func atLeastTwo(list []iptables.Interval) []iptables.Interval {
	if len(list) != 1 || list[0].First == list[0].Last {
		return list
	}
	first, rest := list[0], list[0]
	first.Last = first.First
	rest.First, _ = first.Last.Next()
	return []iptables.Interval{first, rest}
}
