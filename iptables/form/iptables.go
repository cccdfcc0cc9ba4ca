package form

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
)

// LongList is the longest list of ports that gets a rule for each port, to the letter of
// the reference. BenchmarkConnections of the tests measured connections per second
// through lists without groups, relative to a list of three: 99 to 101 % with 16 ports
// and 97 to 98 % with 32, which is the machine's noise; 89 to 93 % with 64, 82 % with 128
// and 35 to 39 % with 1000. Grouped, 300 ports leave 97 to 98 %, and 4000 leave 66 to 69
// %.
const LongList = 32

// IPTables returns a plan in iptables' form: its tables with all their built-in chains,
// in canonical order. A list becomes a rule for each value, in the order given. Lists of
// ports that are longer than [LongList], or that the plan wants grouped, become rules of
// up to 15 ports with "-m multiport"; a range counts as two. If the plan asks for
// comments, each rule has its own origin as a comment.
func IPTables(plan iptables.Plan) iptables.Ruleset {
	var rs iptables.Ruleset
	for _, f := range plan.Families {
		for i := range plan.Tables {
			if planned := &plan.Tables[i]; planned.Has(f) {
				rs.Tables = append(rs.Tables, tableFor(planned, f))
			}
		}
	}
	if plan.Comments {
		rs = rs.Commented()
	}
	rs.Sort()
	return rs
}

func tableFor(planned *iptables.PlannedTable, f iptables.Family) iptables.Table {
	t := iptables.NewTable(f, planned.Name)
	for i := range planned.Chains {
		if c := &planned.Chains[i]; c.Has(f) {
			t.Append(c.Name)
			t.Chain(c.Name).Rules = rulesFor(c, f)
		}
	}
	return t
}

// rulesFor returns the rules of a chain for one family.
func rulesFor(c *iptables.PlannedChain, f iptables.Family) []iptables.Rule {
	var rules []iptables.Rule
	for i := 0; i < len(c.Rules); {
		end := i + 1
		for end < len(c.Rules) && c.Rules[end].Beside {
			end++
		}
		var group []iptables.Rule
		for _, r := range c.Rules[i:end] {
			if r.IsFor(f) {
				group = append(group, forFamily(r.Rule, f))
			}
		}
		rules = appendGroup(rules, group, end-i > 1)
		i = end
	}
	return rules
}

// appendGroup appends rules that have the same list: rule by rule, or value by value.
func appendGroup(rules, group []iptables.Rule, beside bool) []iptables.Rule {
	if len(group) == 0 {
		return rules
	}
	at := listIn(&group[0])
	if !beside || isGrouped(group[0].Matches[at].(iptables.List)) {
		for _, r := range group {
			rules = appendRule(rules, r)
		}
		return rules
	}
	for i := range group[0].Matches[at].(iptables.List).Given {
		for _, r := range group {
			rules = appendRule(rules, withValue(r, listIn(&r), i))
		}
	}
	return rules
}

// appendRule appends a rule for each value, or group of values, of the rule's first list,
// and does the same for the next list of each. A negated list has to stay in one rule
// with all its values.
func appendRule(rules []iptables.Rule, r iptables.Rule) []iptables.Rule {
	at := listIn(&r)
	if at < 0 {
		return append(rules, r)
	}
	list := r.Matches[at].(iptables.List)
	switch {
	case list.Not:
		return appendRule(rules, withoutValues(r, at, list))
	case isGrouped(list):
		for _, ports := range groups(list) {
			rules = appendRule(rules, withPorts(r, at, list, ports))
		}
		return rules
	}
	rules = slices.Grow(rules, len(list.Given))
	for i := range list.Given {
		rules = appendRule(rules, withValue(r, at, i))
	}
	return rules
}

// withValue returns a rule for one value, by its index, of the list at a place in the
// matches.
func withValue(r iptables.Rule, at, value int) iptables.Rule {
	list := r.Matches[at].(iptables.List)
	if r.Origin.Value == "" {
		r.Origin.Value = list.Item(value)
	}
	// Options take only values that iptables can match.
	r, _ = withInterval(r, at, list.Field, list.Not, list.Given[value])
	return r
}

// withoutValues returns a rule with a match for each value, or group of values, of a
// negated list.
func withoutValues(r iptables.Rule, at int, list iptables.List) iptables.Rule {
	var matches []iptables.Match
	if isGrouped(list) {
		for _, ports := range groups(list) {
			matches = append(matches, multiport(list, ports))
		}
	} else {
		for _, v := range list.Given {
			matches = append(matches, intervalMatch(r.Protocol.Protocol, list.Field, true, v))
		}
	}
	if r.Origin.Value == "" {
		r.Origin.Value = list.ShortItems(maxItems)
	}
	r.Matches = slices.Concat(r.Matches[:at], matches, r.Matches[at+1:])
	return r
}
