package form

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
)

// Native returns a plan in nf_tables' form: lists become sets, no rule negates an owner,
// and chains that no packet reaches are left out. A chain that has to be split has
// further parts, such as CHAIN_2. Rules for both families are marked as shared.
//
// The result has no comments. In the native form they are always there, beside the rules,
// not in them.
func Native(plan iptables.Plan) iptables.Ruleset {
	var rs iptables.Ruleset
	for i := range plan.Tables {
		chains := nativeChains(&plan.Tables[i])
		var tables []iptables.Table
		for _, f := range plan.Families {
			if t := nativeTable(plan.Tables[i].Name, chains, f); len(t.Chains) > 0 {
				tables = append(tables, t)
			}
		}
		if len(tables) > 1 {
			markShared(chains, tables)
		}
		rs.Tables = append(rs.Tables, tables...)
	}
	rs.Sort()
	return rs
}

// nativeChains returns the chains of a table in the native form, once for both families.
func nativeChains(t *iptables.PlannedTable) []iptables.PlannedChain {
	var chains []iptables.PlannedChain
	for _, c := range t.Chains {
		native := iptables.PlannedChain{Name: c.Name}
		for _, r := range c.Rules {
			if r.Needed != iptables.ForNone {
				r.Rule = withoutMultiport(withoutBarePorts(r.Rule))
				native.Rules = append(native.Rules, withSets(r))
			}
		}
		chains = append(chains, withoutNegatedOwners(t, native)...)
	}
	return chains
}

// withSets returns a rule with a set, or an equivalent plain match, for each list.
func withSets(r iptables.PlannedRule) iptables.PlannedRule {
	for {
		at := listIn(&r.Rule)
		if at < 0 {
			return r
		}
		list := r.Matches[at].(iptables.List)
		if r.Needed == iptables.ForFirst {
			list.Given = list.Given[:1]
		}
		if r.Origin.Value == "" {
			r.Origin.Value = list.ShortItems(maxItems)
		}
		if list.Implied {
			r.Matches = slices.Concat(r.Matches[:at], r.Matches[at+1:])
			continue
		}
		r.Rule = withSet(r.Rule, at, list.Set())
	}
}

// withSet returns a rule with a set, or an equivalent plain match, in place of a match.
func withSet(r iptables.Rule, at int, set iptables.Set) iptables.Rule {
	if len(set.Elements) == 1 {
		if plain, ok := withInterval(r, at, set.Field, set.Not, set.Elements[0]); ok {
			return plain
		}
	}
	r.Matches = slices.Clone(r.Matches)
	r.Matches[at] = set
	return r
}

// withoutBarePorts returns a rule without matches of tcp or udp that ask for no port: they
// say no more than its protocol, and nf_tables has no expression for that.
func withoutBarePorts(r iptables.Rule) iptables.Rule {
	isBare := func(m iptables.Match) bool {
		ports, ok := m.(iptables.Ports)
		return ok && !ports.Source.Set && !ports.Destination.Set
	}
	if slices.ContainsFunc(r.Matches, isBare) {
		r.Matches = slices.DeleteFunc(slices.Clone(r.Matches), isBare)
	}
	return r
}

// withoutMultiport returns a rule with sets of ports in place of its multiport matches.
func withoutMultiport(r iptables.Rule) iptables.Rule {
	for at, m := range r.Matches {
		group, ok := m.(iptables.Multiport)
		if !ok || group.Side == iptables.EitherPorts {
			continue
		}
		var ports []iptables.Interval
		for _, p := range group.Ports {
			ports = append(ports, iptables.PortInterval(p))
		}
		r = withSet(r, at, iptables.NewSet(sideField(group.Side), group.Not, ports))
	}
	return r
}

// nativeTable returns the chains that packets of a family can reach, with the rules for
// them. When a chain is read back, the jumps to it say what it is for.
func nativeTable(name string, chains []iptables.PlannedChain, f iptables.Family) iptables.Table {
	t := iptables.Table{Family: f, Name: name}
	for i := range chains {
		c := iptables.Chain{Name: chains[i].Name}
		for _, r := range chains[i].Rules {
			if r.IsFor(f) {
				c.Rules = append(c.Rules, forFamily(r.Rule, f))
			}
		}
		if chains[i].Has(f) {
			t.Chains = append(t.Chains, c)
		}
	}
	reached := make(map[string]bool)
	var visit func(c *iptables.Chain)
	visit = func(c *iptables.Chain) {
		if c == nil || reached[c.Name] {
			return
		}
		reached[c.Name] = true
		for _, r := range c.Rules {
			if to, ok := r.JumpsTo(); ok {
				visit(t.Chain(to))
			}
		}
	}
	for i := range t.Chains {
		if c := &t.Chains[i]; slices.Contains(iptables.BuiltinChains(name), c.Name) && len(c.Rules) > 0 {
			visit(c)
		}
	}
	t.Chains = slices.DeleteFunc(t.Chains, func(c iptables.Chain) bool { return !reached[c.Name] })
	return t
}

// markShared marks rules for both families in chains that packets of both reach.
func markShared(chains []iptables.PlannedChain, tables []iptables.Table) {
	for _, planned := range chains {
		for i := range tables {
			c, other := tables[i].Chain(planned.Name), tables[1-i].Chain(planned.Name)
			if c == nil || other == nil {
				continue
			}
			n := 0
			for _, r := range planned.Rules {
				if r.IsFor(tables[i].Family) {
					c.Rules[n].Shared = r.Family == 0
					n++
				}
			}
		}
	}
}
