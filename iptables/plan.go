package iptables

import (
	"net/netip"
	"slices"
)

// Plan is what a policy wants in a namespace: rules with whole lists, each once for both
// families. A form turns it into a [Ruleset], which the packages below kernel write.
type Plan struct {
	// Families are the address families of the rules.
	Families []Family
	// Comments says that iptables rules have their origin as a comment.
	Comments bool
	Tables   []PlannedTable
	// Doubled adapts rules, planned or found, for the time in which packets pass two sets
	// of them, while rules move from one backend to another. It is nil if rules can stay
	// as they are.
	Doubled func(Ruleset) Ruleset
}

// PlannedTable is one table, such as nat, for every family of the plan.
type PlannedTable struct {
	Name   string
	Chains []PlannedChain
}

// PlannedChain is a chain of ours, or our part of a built-in chain. A family has the
// chain if the chain has a rule for that family, or no rules at all.
type PlannedChain struct {
	Name  string
	Rules []PlannedRule
}

// PlannedRule is a rule that is wanted. Its matches may have a [List] for each field. The
// origin of a rule with lists names the option only; the values are those of the first
// list.
type PlannedRule struct {
	Rule
	// Family is the family of the rule, 0 for all families. A rule that matches addresses
	// has one.
	Family Family
	// Beside says that iptables' form writes the rule value by value, together with the
	// rule before it, which has the same list; see [Each].
	Beside bool
	// Needed says which values of the list need the rule.
	Needed Need
}

// Need says for which values of a list a rule has an effect. For the others, earlier
// rules handle every packet that it matches. They are written where iptables' text has to
// equal the reference's.
type Need uint8

// The needs.
const (
	ForEach  Need = iota // every value
	ForFirst             // the first value given
	ForNone              // no value
)

// Each groups rules that have the same list. iptables' form writes all rules for one
// value, then those for the next. If it writes several values as one match, and in every
// other form, one rule follows the other.
func Each(rules ...PlannedRule) []PlannedRule {
	grouped := slices.Clone(rules)
	for i := range grouped {
		grouped[i].Beside = i > 0
	}
	return grouped
}

// Lists returns the rule's lists.
func (r *PlannedRule) Lists() []List { return MatchesOf[List](r.Rule) }

// IsFor reports whether packets of a family can match the rule.
func (r *PlannedRule) IsFor(f Family) bool { return r.Family == 0 || r.Family == f }

// SourceAddresses returns the source addresses that rules give packets.
func (p *Plan) SourceAddresses() []netip.Addr {
	var all []netip.Addr
	for _, t := range p.Tables {
		for _, c := range t.Chains {
			for _, r := range c.Rules {
				if to, ok := r.Target.(SNAT); ok {
					all = append(all, to.To)
				}
			}
		}
	}
	return all
}

// Table returns the table of that name. It makes the table if there is none.
func (p *Plan) Table(name string) *PlannedTable {
	at := slices.IndexFunc(p.Tables, func(t PlannedTable) bool { return t.Name == name })
	if at < 0 {
		at = len(p.Tables)
		p.Tables = append(p.Tables, PlannedTable{Name: name})
	}
	return &p.Tables[at]
}

// Append adds rules to the end of a chain. It makes the chain if there is none. Without
// rules it does nothing.
func (t *PlannedTable) Append(chain string, rules ...PlannedRule) {
	if len(rules) > 0 {
		c := t.chain(chain)
		c.Rules = append(c.Rules, rules...)
	}
}

// Make makes chains that stay even without rules.
func (t *PlannedTable) Make(chains ...string) {
	for _, name := range chains {
		t.chain(name)
	}
}

func (t *PlannedTable) chain(name string) *PlannedChain {
	at := slices.IndexFunc(t.Chains, func(c PlannedChain) bool { return c.Name == name })
	if at < 0 {
		at = len(t.Chains)
		t.Chains = append(t.Chains, PlannedChain{Name: name})
	}
	return &t.Chains[at]
}

// Validate returns what [Ruleset.Validate] returns for the rules that a form makes.
func (p *Plan) Validate() error {
	var rs Ruleset
	for _, f := range p.Families {
		for _, planned := range p.Tables {
			t := Table{Family: f, Name: planned.Name}
			for _, c := range planned.Chains {
				if !c.Has(f) {
					continue
				}
				t.Append(c.Name)
				for _, r := range c.Rules {
					if r.IsFor(f) {
						t.Append(c.Name, r.Rule)
					}
				}
			}
			rs.Tables = append(rs.Tables, t)
		}
	}
	return rs.Validate()
}

// Has reports whether a family has the chain.
func (c *PlannedChain) Has(f Family) bool {
	return len(c.Rules) == 0 || slices.ContainsFunc(c.Rules, func(r PlannedRule) bool { return r.IsFor(f) })
}

// Has reports whether a family has rules in the table.
func (t *PlannedTable) Has(f Family) bool {
	return slices.ContainsFunc(t.Chains, func(c PlannedChain) bool { return len(c.Rules) > 0 && c.Has(f) })
}
