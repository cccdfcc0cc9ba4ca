package native

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
)

// Ruleset returns the table as tables of both families. A family has the chains that its
// packets reach, or would reach if the table were not dormant. Chains that no packet
// reaches are shown with IPv4, so that they are noticed. A chain that only has the name
// of a built-in chain is not: it is a fault.
func (t *Table) Ruleset() iptables.Ruleset {
	var rs iptables.Ruleset
	if !t.found {
		return rs
	}
	v4, v6 := t.reached(iptables.IPv4), t.reached(iptables.IPv6)
	for _, c := range t.chains {
		both := v4[c.Name] && v6[c.Name]
		if v4[c.Name] || !v6[c.Name] && !c.Base && !c.isBuiltin() {
			addChainTo(&rs, iptables.IPv4, c, both)
		}
		if v6[c.Name] {
			addChainTo(&rs, iptables.IPv6, c, both)
		}
	}
	rs.Sort()
	return rs
}

// reached returns the chains that packets of a family can reach.
func (t *Table) reached(f iptables.Family) map[string]bool {
	reached := make(map[string]bool)
	var visit func(c *installedChain)
	visit = func(c *installedChain) {
		if c == nil || reached[c.Name] {
			return
		}
		rules := c.of(f)
		if c.Base && len(rules) == 0 && c.Policy != iptables.Policy(iptables.Drop) {
			// It has no effect.
			return
		}
		reached[c.Name] = true
		for _, r := range rules {
			if to, ok := r.JumpsTo(); ok {
				visit(t.chain(to))
			}
		}
	}
	for _, c := range t.chains {
		if c.Base && c.isAttached() {
			visit(c)
		}
	}
	return reached
}

// of returns the rules for packets of a family.
func (c *installedChain) of(f iptables.Family) []iptables.Rule {
	var rules []iptables.Rule
	for _, r := range c.rules {
		if r.isFor(f) {
			rules = append(rules, r.of(f))
		}
	}
	return rules
}

// addChainTo adds a chain to a family's table. Packets of that family, or of both, reach
// it.
func addChainTo(rs *iptables.Ruleset, f iptables.Family, c *installedChain, both bool) {
	name, chain := modelName(c.Name)
	if rs.Table(f, name) == nil {
		rs.Tables = append(rs.Tables, iptables.NewTable(f, name))
	}
	rules := slices.Clone(c.of(f))
	for i := range rules {
		rules[i] = withModelName(rules[i])
		rules[i].Shared = both && rules[i].Shared
	}
	rs.Table(f, name).Append(chain, rules...)
	if c.Base {
		rs.Table(f, name).Chain(chain).Policy = c.Policy
	}
}

// withModelName returns a rule with the model's name for the chain that it jumps to.
func withModelName(r iptables.Rule) iptables.Rule {
	r.Target = renamed(r.Target, func(native string) string {
		_, chain := modelName(native)
		return chain
	})
	return r
}

// Find returns the rule with a handle, its position among the rules for the family,
// counted from 1, and the model's names of its table and chain. The position is 0 if
// there is no such rule. known is false for any other table.
func (t *Table) Find(key tables.Key, f iptables.Family, chain string, handle uint64) (place Found, known bool) {
	if !t.found || key != tableKey {
		return place, false
	}
	place.Table, place.Chain = modelName(chain)
	c := t.chain(chain)
	if c == nil {
		return place, true
	}
	position := 0
	for _, r := range c.rules {
		if r.isFor(f) {
			position++
		}
		if slices.Contains(r.handles, handle) {
			place.Position, place.Rule = position, withModelName(r.of(f))
			break
		}
	}
	return place, true
}

// Found is a rule and its place in the model.
type Found struct {
	Table, Chain string
	Position     int
	Rule         iptables.Rule
}

// renamed returns a target with another name for the chain that it jumps to.
func renamed(t iptables.Target, rename func(string) string) iptables.Target {
	switch t := t.(type) {
	case iptables.Jump:
		return iptables.Jump{Chain: rename(t.Chain)}
	case iptables.Goto:
		return iptables.Goto{Chain: rename(t.Chain)}
	}
	return t
}
