package iptables

import (
	"net/netip"
	"slices"
	"strings"
)

// Ownership tells what is ours in a network namespace from what is not. Each policy has
// its own; a namespace can hold what several policies make. The zero value owns nothing.
type Ownership struct {
	// Chains are what the names of our chains begin with, such as "MESH_".
	Chains []string
	// Addresses are those that nobody but us puts on the loopback interface.
	Addresses []netip.Prefix
	// Lookups are policy rules that are ours although nothing of them says who made
	// them. So are the routes of their tables, as long as nobody else uses the table.
	Lookups []Lookup
}

// Lookup is the policy rule "fwmark Mark lookup Table".
type Lookup struct{ Mark, Table uint32 }

// Owns reports whether a chain of that name is ours.
func (o Ownership) Owns(chain string) bool {
	return slices.ContainsFunc(o.Chains, func(prefix string) bool { return strings.HasPrefix(chain, prefix) })
}

// OwnsJump reports whether a rule jumps or goes to a chain of ours: such rules are ours
// in whatever chain they are.
func (o Ownership) OwnsJump(r Rule) bool {
	to, ok := r.JumpsTo()
	return ok && o.Owns(to)
}

// OwnsRule reports whether a rule of the chain of that name is ours.
func (o Ownership) OwnsRule(chain string, r Rule) bool { return o.Owns(chain) || o.OwnsJump(r) }

// OfTable returns the part of a table that is ours: our chains and, of every other
// chain, only the jumps into them, without its policy. Chains of which nothing is ours
// are left out, so a table in which nothing is ours has no chains.
func (o Ownership) OfTable(t *Table) Table {
	own := Table{Family: t.Family, Name: t.Name}
	for _, c := range t.Chains {
		if o.Owns(c.Name) {
			own.Chains = append(own.Chains, c)
			continue
		}
		if jumps := o.jumpsOf(&c); len(jumps) > 0 {
			own.Chains = append(own.Chains, Chain{Name: c.Name, Rules: jumps})
		}
	}
	return own
}

func (o Ownership) jumpsOf(c *Chain) []Rule {
	var jumps []Rule
	for _, r := range c.Rules {
		if o.OwnsJump(r) {
			jumps = append(jumps, r)
		}
	}
	return jumps
}

// Of returns what is ours of every table, in canonical order, and leaves out the tables
// in which nothing is.
func (o Ownership) Of(rs Ruleset) Ruleset {
	var own Ruleset
	for i := range rs.Tables {
		if t := o.OfTable(&rs.Tables[i]); len(t.Chains) > 0 {
			own.Tables = append(own.Tables, t)
		}
	}
	own.Sort()
	return own
}

// IsReachable reports whether other machines could reach this one by an address of its
// own: whether it is neither link-local nor of loopback, where ours are too.
func (o Ownership) IsReachable(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !slices.ContainsFunc(o.Addresses, func(p netip.Prefix) bool { return p.Addr() == a })
}

// ReadComments returns the ruleset with what [Rule.Commented] wrote to rules of
// ours undone: the comment is taken out of the rule and, unless the rule has an
// origin already, read as one. All other comments stay.
func (o Ownership) ReadComments(rs Ruleset) Ruleset {
	return rs.Map(func(c *Chain, r Rule) Rule { return o.ReadComment(c.Name, r) })
}

// ReadComment is ReadComments for one rule of the chain of that name.
func (o Ownership) ReadComment(chain string, r Rule) Rule {
	if !o.OwnsRule(chain, r) {
		return r
	}
	r.Matches = slices.DeleteFunc(slices.Clone(r.Matches), func(m Match) bool {
		comment, ok := m.(Comment)
		if !ok {
			return false
		}
		from, ok := ParseOrigin(comment.Text)
		if ok && r.Origin == (Origin{}) {
			r.Origin = from
		}
		return ok
	})
	return r
}
