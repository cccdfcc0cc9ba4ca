package iptables

import (
	"cmp"
	"slices"
	"strings"
)

// The tables that meshtables uses. ParseSave may return others.
const (
	Raw    = "raw"
	Mangle = "mangle"
	Nat    = "nat"
)

// The built-in chains that meshtables attaches to.
const (
	Prerouting  = "PREROUTING"
	Input       = "INPUT"
	Forward     = "FORWARD"
	Output      = "OUTPUT"
	Postrouting = "POSTROUTING"
)

// Ruleset is the iptables content of one network namespace.
//
// Tables has at most one table per family and name. [Ruleset.Sort] puts them into
// canonical order.
type Ruleset struct {
	Tables []Table
}

// Table is one table of one family, such as IPv4 nat.
type Table struct {
	Family Family
	Name   string
	Chains []Chain
}

// Chain is a built-in chain (Policy is set) or a user-defined one.
type Chain struct {
	Name     string
	Policy   Policy
	Counters Counters
	Rules    []Rule
}

// Policy is what happens to a packet that reaches the end of a built-in chain:
// "ACCEPT" or "DROP". It is empty for user-defined chains, which have none.
type Policy string

// Counters is the traffic that a rule, or the policy of a chain, has handled.
type Counters struct {
	Packets, Bytes uint64
}

// BuiltinChains returns the built-in chains of a table in the order in which
// iptables-save lists them, or nil for a table that iptables does not have.
func BuiltinChains(table string) []string {
	switch table {
	case Raw:
		return []string{Prerouting, Output}
	case Mangle:
		return []string{Prerouting, Input, Forward, Output, Postrouting}
	case Nat:
		return []string{Prerouting, Input, Output, Postrouting}
	case "filter", "security":
		return []string{Input, Forward, Output}
	}
	return nil
}

// IsBuiltin reports whether a table of iptables always has the chain.
func IsBuiltin(table, chain string) bool { return slices.Contains(BuiltinChains(table), chain) }

// NewTable returns a table with its built-in chains, empty and accepting.
func NewTable(family Family, name string) Table {
	t := Table{Family: family, Name: name}
	for _, chain := range BuiltinChains(name) {
		t.Chains = append(t.Chains, Chain{Name: chain, Policy: "ACCEPT"})
	}
	return t
}

// Table returns the table of that family and name, or nil.
func (rs *Ruleset) Table(family Family, name string) *Table {
	for i := range rs.Tables {
		if t := &rs.Tables[i]; t.Family == family && t.Name == name {
			return t
		}
	}
	return nil
}

// Chain returns the chain of that name, or nil.
func (t *Table) Chain(name string) *Chain {
	for i := range t.Chains {
		if t.Chains[i].Name == name {
			return &t.Chains[i]
		}
	}
	return nil
}

// Append adds rules to the end of a chain. It makes a user-defined chain if there is
// none, even without rules.
func (t *Table) Append(chain string, rules ...Rule) {
	c := t.Chain(chain)
	if c == nil {
		t.Chains = append(t.Chains, Chain{Name: chain})
		c = &t.Chains[len(t.Chains)-1]
	}
	if n := len(c.Rules); cap(c.Rules)-n < len(rules) {
		// append would grow thousands of rules by a quarter at a time.
		c.Rules = slices.Grow(c.Rules, max(n, len(rules)))
	}
	c.Rules = append(c.Rules, rules...)
}

// tableOrder is the order in which iptables-nft-save prints tables.
var tableOrder = [...]string{Mangle, "security", Raw, "filter", Nat}

// Sort puts tables and chains into the order in which iptables-nft-save prints
// them: IPv4 first; built-in chains in the order of their hooks, then
// user-defined chains by name.
func (rs *Ruleset) Sort() {
	slices.SortStableFunc(rs.Tables, func(a, b Table) int {
		return cmp.Or(
			cmp.Compare(a.Family, b.Family),
			cmp.Compare(slices.Index(tableOrder[:], a.Name), slices.Index(tableOrder[:], b.Name)),
			strings.Compare(a.Name, b.Name),
		)
	})
	for _, t := range rs.Tables {
		builtin := BuiltinChains(t.Name)
		rank := func(c Chain) int {
			if i := slices.Index(builtin, c.Name); i >= 0 {
				return i
			}
			return len(builtin)
		}
		slices.SortStableFunc(t.Chains, func(a, b Chain) int {
			return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a.Name, b.Name))
		})
	}
}

// Len returns the number of rules. A rule for both families counts once.
func (rs *Ruleset) Len() int {
	n := 0
	for _, t := range rs.Tables {
		for _, c := range t.Chains {
			for _, r := range c.Rules {
				if !r.Shared || t.Family == IPv4 {
					n++
				}
			}
		}
	}
	return n
}

// Families returns the families that have tables.
func (rs *Ruleset) Families() []Family {
	return slices.DeleteFunc(Families(), func(f Family) bool {
		return !slices.ContainsFunc(rs.Tables, func(t Table) bool { return t.Family == f })
	})
}

// Map returns the ruleset with to applied to each rule. to must not change the chain.
func (rs *Ruleset) Map(to func(*Chain, Rule) Rule) Ruleset {
	mapped := *rs
	mapped.Tables = slices.Clone(rs.Tables)
	for i := range mapped.Tables {
		t := &mapped.Tables[i]
		t.Chains = slices.Clone(t.Chains)
		for j := range t.Chains {
			c := &t.Chains[j]
			c.Rules = slices.Clone(c.Rules)
			for k, r := range c.Rules {
				c.Rules[k] = to(c, r)
			}
		}
	}
	return mapped
}

// HasRule reports whether there is a rule of which is reports true. is must not change
// anything.
func (rs *Ruleset) HasRule(is func(*Table, *Chain, *Rule) bool) bool {
	for i := range rs.Tables {
		t := &rs.Tables[i]
		for j := range t.Chains {
			c := &t.Chains[j]
			for k := range c.Rules {
				if is(t, c, &c.Rules[k]) {
					return true
				}
			}
		}
	}
	return false
}

// Equal reports whether both tables have the same chains with the same policies
// and rules in the same order. The order of the chains themselves does not
// matter, and neither do counters and origins.
func (t *Table) Equal(u *Table) bool {
	if t.Family != u.Family || t.Name != u.Name || len(t.Chains) != len(u.Chains) {
		return false
	}
	for i := range t.Chains {
		c := &t.Chains[i]
		d := u.Chain(c.Name)
		if d == nil || c.Policy != d.Policy || !slices.EqualFunc(c.Rules, d.Rules, Rule.Equal) {
			return false
		}
	}
	return true
}

// Equal reports whether both rulesets have equal tables. The order of the tables does
// not matter.
func (rs *Ruleset) Equal(other *Ruleset) bool {
	if len(rs.Tables) != len(other.Tables) {
		return false
	}
	for i := range rs.Tables {
		t := &rs.Tables[i]
		u := other.Table(t.Family, t.Name)
		if u == nil || !t.Equal(u) {
			return false
		}
	}
	return true
}
