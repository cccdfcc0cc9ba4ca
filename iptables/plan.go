package iptables

import "slices"

// Plan is what a policy wants in a namespace: rules with whole lists, each there once for
// both families. The packages below kernel write a [Ruleset] that a form makes of it.
type Plan struct {
	// Families are those that the rules are for.
	Families []Family
	// Comments says that rules of iptables have their origin as a comment.
	Comments bool
	Tables   []PlannedTable
	// Doubled returns rules, of the plan or found, such as they have to be while packets
	// meet two sets of them, as they do while rules move from one backend to another. It
	// is nil if they can be as they are.
	Doubled func(Ruleset) Ruleset
}

// PlannedTable is one table, such as nat, of every family of the plan.
type PlannedTable struct {
	Name   string
	Chains []PlannedChain
}

// PlannedChain is a chain of ours, or what is ours of a built-in chain. A family has it
// if it has a rule for that family, or no rule at all.
type PlannedChain struct {
	Name  string
	Rules []PlannedRule
}

// PlannedRule is a rule that is wanted. Its matches may be a [List] of each field. The
// origin of a rule with lists names the option only: the items are those of the first.
type PlannedRule struct {
	Rule
	// Family is the only one that the rule is for, 0 if it is for all. A rule that
	// matches addresses is for one.
	Family Family
	// Beside says that iptables' form writes the rule value by value beside the rule
	// before it, which has the same list; see [Each].
	Beside bool
	// Needed tells for which values of the list the rule is.
	Needed Need
}

// Need tells for which values of a list a rule does something. For the others, rules
// before it decide about all that it matches. They are written where iptables' text is to
// be that of the reference.
type Need uint8

// The needs.
const (
	ForEach  Need = iota // every value
	ForFirst             // the first value given
	ForNone              // no value
)

// Each groups rules that have the same list. iptables' form takes one value after the
// other and writes all rules for it; where it writes several values as one match, and in
// any other form, it takes one rule after the other.
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

// Table returns the table of that name, which it makes if there is none.
func (p *Plan) Table(name string) *PlannedTable {
	at := slices.IndexFunc(p.Tables, func(t PlannedTable) bool { return t.Name == name })
	if at < 0 {
		at = len(p.Tables)
		p.Tables = append(p.Tables, PlannedTable{Name: name})
	}
	return &p.Tables[at]
}

// Append adds rules to the end of a chain, which it makes if there is none. With no rules
// it does nothing.
func (t *PlannedTable) Append(chain string, rules ...PlannedRule) {
	if len(rules) > 0 {
		c := t.chain(chain)
		c.Rules = append(c.Rules, rules...)
	}
}

// Make makes chains that are there whether they have rules or not.
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

// Validate returns what [Ruleset.Validate] would of the rules that a form makes.
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
