package form

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
)

// isGrouped reports whether iptables' form puts several values of a list into one rule.
func isGrouped(list iptables.List) bool {
	ports := list.Field == iptables.SourcePort || list.Field == iptables.DestinationPort
	return ports && (list.Grouped || len(list.Given) > LongList)
}

// groups splits a list of ports into groups that fit one multiport: in the order given if
// the plan wants them grouped, else sorted and joined.
func groups(list iptables.List) [][]iptables.Interval {
	ports := list.Given
	if !list.Grouped {
		ports = list.Set().Elements
	}
	var all [][]iptables.Interval
	free := 0
	for _, p := range ports {
		need := 1
		if p.First != p.Last {
			need = 2
		}
		if need > free {
			all = append(all, nil)
			free = iptables.MaxMultiport
		}
		all[len(all)-1] = append(all[len(all)-1], p)
		free -= need
	}
	return all
}

// withPorts returns a rule for a group of a list's ports.
func withPorts(r iptables.Rule, at int, list iptables.List, ports []iptables.Interval) iptables.Rule {
	if r.Origin.Value == "" {
		r.Origin.Value = iptables.ShortList(itemsIn(list, ports), maxItems)
	}
	r.Matches = slices.Clone(r.Matches)
	if len(ports) == 1 && !list.Grouped {
		r.Matches[at] = intervalMatch(r.Protocol.Protocol, list.Field, false, ports[0])
		return r
	}
	r.Matches[at] = multiport(list, ports)
	return r
}

// itemsIn returns a group of a list's ports as written in the option.
func itemsIn(list iptables.List, ports []iptables.Interval) []string {
	var items []string
	if list.Names == nil {
		for _, p := range ports {
			items = append(items, p.Text(list.Field))
		}
		return items
	}
	for i, v := range list.Given {
		if slices.ContainsFunc(ports, func(p iptables.Interval) bool { return p.Contains(v.First) }) {
			items = append(items, list.Names[i])
		}
	}
	return items
}

func multiport(list iptables.List, ports []iptables.Interval) iptables.Multiport {
	m := iptables.Multiport{Side: iptables.DestinationPorts, Not: list.Not, Ports: make([]iptables.PortRange, len(ports))}
	if list.Field == iptables.SourcePort {
		m.Side = iptables.SourcePorts
	}
	for i, p := range ports {
		m.Ports[i] = p.Ports()
	}
	return m
}

// Ungroup undoes what [IPTables] does to long lists in the rules of a chain: it returns
// one rule for each port. If a list was long only because values repeat, overlap or
// touch, the result is made long enough to be written the same way.
func Ungroup(rules []iptables.Rule) []iptables.Rule {
	var single []iptables.Rule
	for i := 0; i < len(rules); {
		at := slices.IndexFunc(rules[i].Matches, isPositiveGroup)
		if at < 0 {
			single = append(single, rules[i])
			i++
			continue
		}
		side := rules[i].Matches[at].(iptables.Multiport).Side
		var ports []iptables.PortRange
		first := withoutGroup(rules[i], at)
		for ; i < len(rules) && len(rules[i].Matches) > at && withoutGroup(rules[i], at) == first; i++ {
			group, ok := rules[i].Matches[at].(iptables.Multiport)
			if !ok || group.Not || group.Side != side {
				break
			}
			ports = append(ports, group.Ports...)
		}
		for _, p := range lengthened(ports) {
			one := rules[i-1]
			one.Matches = slices.Clone(one.Matches)
			one.Matches[at] = intervalMatch(one.Protocol.Protocol, sideField(side), false, iptables.PortInterval(p))
			single = append(single, one)
		}
	}
	return single
}

// withoutGroup returns the text of a rule without the match at a place.
func withoutGroup(r iptables.Rule, at int) string {
	r.Matches = slices.Delete(slices.Clone(r.Matches), at, at+1)
	return r.String()
}

// lengthened returns a list of the same ports that is longer than LongList.
func lengthened(ports []iptables.PortRange) []iptables.PortRange {
	for i := 0; i < len(ports) && len(ports) <= LongList; {
		p := ports[i]
		if p.First == p.Last {
			i++
			continue
		}
		ports = slices.Insert(ports, i, iptables.Port(p.First))
		ports[i+1].First++
	}
	for len(ports) <= LongList {
		ports = append(ports, ports[len(ports)-1])
	}
	return ports
}

func isPositiveGroup(m iptables.Match) bool {
	group, ok := m.(iptables.Multiport)
	return ok && !group.Not && group.Side != iptables.EitherPorts
}

// sideField returns the field of the ports that a multiport looks at, if that is one.
func sideField(s iptables.PortSide) iptables.SetField {
	if s == iptables.SourcePorts {
		return iptables.SourcePort
	}
	return iptables.DestinationPort
}
