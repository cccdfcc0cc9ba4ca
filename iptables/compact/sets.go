package compact

import (
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
)

// Sets returns the ruleset in the native form of nf_tables: lists are sets, no
// rule asks for the absence of an owner, and what no packet can reach is left
// out, unless nothing else tells what it comes from. Chains that had to be split
// have a further part, such as ISTIO_OUTPUT_2.
//
// The result holds what is ours only, and no comments: those of the native form
// are beside the rules, not in them, and always there.
func Sets(rs iptables.Ruleset) iptables.Ruleset {
	own := rs.Own()
	own = own.Uncommented()
	var native iptables.Ruleset
	for i := range own.Tables {
		t := nativeTable(&own.Tables[i])
		if t = reachable(&t); len(t.Chains) > 0 {
			native.Tables = append(native.Tables, t)
		}
	}
	native.Sort()
	return native
}

func nativeTable(t *iptables.Table) iptables.Table {
	e := effectsIn(t)
	native := iptables.Table{Family: t.Family, Name: t.Name}
	for _, c := range t.Chains {
		rules := make([]iptables.Rule, len(c.Rules))
		for i, r := range c.Rules {
			rules[i] = split(r)
		}
		// Each may make more of the others possible.
		for before := -1; before != len(rules); {
			before = len(rules)
			absorb(rules, e)
			rules = withoutDead(merge(rules, e, iptables.SetFields(), anyShape))
		}
		native.Chains = append(native.Chains, withoutNegatedOwners(t, c.Name, rules)...)
	}
	return native
}

func anyShape(shape) bool { return true }

// split makes two matches of one on user and group, and sets of the ports of a
// multiport.
func split(r iptables.Rule) iptables.Rule {
	var matches []iptables.Match
	for _, m := range r.Matches {
		switch m := m.(type) {
		case iptables.Owner:
			if m.UID.Set && m.GID.Set {
				matches = append(matches, iptables.Owner{UID: m.UID}, iptables.Owner{GID: m.GID})
				continue
			}
		case iptables.Multiport:
			if s, ok := setOfPorts(m); ok {
				matches = append(matches, s)
				continue
			}
		}
		matches = append(matches, m)
	}
	r.Matches = matches
	return r
}

func setOfPorts(m iptables.Multiport) (iptables.Match, bool) {
	for _, f := range []iptables.SetField{iptables.SourcePort, iptables.DestinationPort} {
		if _, not, values, ok := extractMatch(m, f); ok {
			return iptables.NewSet(f, not, values), true
		}
	}
	return nil, false
}

// withoutDead leaves out the rules that no packet reaches because an earlier one
// decides about all of theirs. A rule with an item of an option that no other rule
// left in the chain has stays: it alone tells that the item was given, and what would
// become of the packets if the earlier rule went.
func withoutDead(list []*merged) []iptables.Rule {
	var alive []*merged
	dead := make([]bool, len(list))
	told := make(map[iptables.Origin]bool)
	for i, r := range list {
		if dead[i] = isDead(r, alive); dead[i] {
			continue
		}
		alive = append(alive, r)
		for _, o := range items(r.rule.Origin) {
			told[o] = true
		}
	}
	isNew := func(o iptables.Origin) bool { return !told[o] }
	var left []iptables.Rule
	for i, r := range list {
		if !dead[i] || slices.ContainsFunc(items(r.rule.Origin), isNew) {
			left = append(left, r.rule)
		}
	}
	return left
}

// items returns the option with each of its values.
func items(o iptables.Origin) []iptables.Origin {
	var all []iptables.Origin
	for value := range strings.SplitSeq(o.Value, ",") {
		all = append(all, iptables.Origin{Option: o.Option, Value: value})
	}
	return all
}

// isDead reports whether one of the rules before decides about all packets of a rule.
func isDead(r *merged, before []*merged) bool {
	for i, q := range before {
		if q.effect.decides && r.conditions().imply(q.conditions()) &&
			(len(q.conditions().others) == 0 || !slices.ContainsFunc(before[i:], func(m *merged) bool { return !m.effect.pure })) {
			return true
		}
	}
	return false
}

// reachable returns the table without the chains that no packet can reach, and
// without built-in chains in which nothing is.
func reachable(t *iptables.Table) iptables.Table {
	found := make(map[string]bool)
	var visit func(c *iptables.Chain)
	visit = func(c *iptables.Chain) {
		if c == nil || found[c.Name] {
			return
		}
		found[c.Name] = true
		for _, r := range c.Rules {
			if to, ok := r.JumpsTo(); ok {
				visit(t.Chain(to))
			}
		}
	}
	for i := range t.Chains {
		if c := &t.Chains[i]; !iptables.IsOwn(c.Name) && len(c.Rules) > 0 {
			visit(c)
		}
	}
	left := iptables.Table{Family: t.Family, Name: t.Name}
	for _, c := range t.Chains {
		if found[c.Name] {
			left.Chains = append(left.Chains, c)
		}
	}
	return left
}
