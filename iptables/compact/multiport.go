package compact

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
)

// LongList is the length up to which a list of ports keeps a rule for each, to the
// letter of the reference. It was measured with BenchmarkConnections of the tests, in
// connections per second through lists without groups, of those through a list of
// three: 99 to 101 % with 16 ports and 97 to 98 % with 32, which is the machine's noise;
// 89 to 93 % with 64, 82 % with 128 and 35 to 39 % with 1000. Grouped, 300 ports leave
// 97 to 98 %, and 4000 leave 66 to 69 %.
const LongList = 32

// Multiport returns the ruleset with the ports of lists that are longer than
// [LongList] grouped: up to 15 ports, a range counting for two, are one rule with
// "-m multiport". All other rules stay as they are and where they are, to the
// letter. Comments are those of the rules that result.
func Multiport(rs iptables.Ruleset) iptables.Ruleset {
	if rs.HasComments() {
		// They tell rules apart that only differ in what they come from.
		plain := rs.Uncommented()
		grouped := Multiport(plain)
		return grouped.Commented()
	}
	var grouped iptables.Ruleset
	for i := range rs.Tables {
		t := &rs.Tables[i]
		e := effectsIn(t)
		g := iptables.Table{Family: t.Family, Name: t.Name}
		for _, c := range t.Chains {
			if long := longLists(c.Rules); len(long) > 0 {
				c.Rules = groupPorts(c.Rules, e, long)
			}
			g.Chains = append(g.Chains, c)
		}
		grouped.Tables = append(grouped.Tables, g)
	}
	return grouped
}

// Ungroup undoes what [Multiport] does to the rules of a chain: it returns one rule
// for each of their ports.
func Ungroup(rules []iptables.Rule) []iptables.Rule {
	var single []iptables.Rule
	for _, r := range rules {
		at := slices.IndexFunc(r.Matches, isGroup)
		if at < 0 {
			single = append(single, r)
			continue
		}
		group := r.Matches[at].(iptables.Multiport)
		for _, p := range group.Ports {
			port := iptables.PortMatch{Range: p, Set: true}
			m := iptables.Ports{Protocol: r.Protocol.Protocol, Destination: port}
			if group.Side == iptables.SourcePorts {
				m.Source, m.Destination = m.Destination, m.Source
			}
			one := r
			one.Matches = slices.Clone(r.Matches)
			one.Matches[at] = m
			single = append(single, one)
		}
	}
	return single
}

func isGroup(m iptables.Match) bool {
	group, ok := m.(iptables.Multiport)
	return ok && !group.Not && group.Side != iptables.EitherPorts
}

var portFields = [...]iptables.SetField{iptables.SourcePort, iptables.DestinationPort}

// longLists returns the shapes that more than LongList rules have.
func longLists(rules []iptables.Rule) map[shape]bool {
	if len(rules) <= LongList {
		return nil
	}
	count := make(map[shape]int)
	long := make(map[shape]bool)
	for _, r := range rules {
		for _, f := range portFields {
			if rest, not, _, ok := extract(r, f); ok && !not {
				s := shape{f, rest.String(), r.Origin.Option}
				if count[s]++; count[s] > LongList {
					long[s] = true
				}
			}
		}
	}
	return long
}

func groupPorts(rules []iptables.Rule, e *effects, long map[shape]bool) []iptables.Rule {
	var grouped []iptables.Rule
	for _, g := range merge(rules, e, portFields[:], func(s shape) bool { return long[s] }) {
		if g.shape == (shape{}) {
			grouped = append(grouped, g.rule)
			continue
		}
		for _, ports := range groups(g.values) {
			grouped = append(grouped, withPorts(g, ports))
		}
	}
	return grouped
}

// groups divides ports into as many as one multiport takes.
func groups(sorted []iptables.Interval) [][]iptables.PortRange {
	var all [][]iptables.PortRange
	free := 0
	for _, e := range sorted {
		ports := e.Ports()
		need := 1
		if ports.First != ports.Last {
			need = 2
		}
		if need > free {
			all = append(all, nil)
			free = iptables.MaxMultiport
		}
		all[len(all)-1] = append(all[len(all)-1], ports)
		free -= need
	}
	return all
}

func withPorts(g *merged, ports []iptables.PortRange) iptables.Rule {
	var values []iptables.Interval
	names := make([]string, len(ports))
	for i, p := range ports {
		values = append(values, iptables.PortInterval(p))
		names[i] = p.String()
	}
	r := restore(g.rest, iptables.NewSet(g.shape.field, false, values))
	r.Origin = iptables.Origin{Option: g.shape.option, Value: list(names)}
	if len(ports) == 1 {
		return r
	}
	side := iptables.SourcePorts
	if g.shape.field == iptables.DestinationPort {
		side = iptables.DestinationPorts
	}
	for i, m := range r.Matches {
		if s, ok := m.(iptables.Set); ok && s.Field == g.shape.field {
			r.Matches[i] = iptables.Multiport{Side: side, Ports: ports}
		}
	}
	return r
}
