package iptables

import (
	"net/netip"
	"slices"
	"strings"
)

// Ownership says what in a network namespace is ours. Each policy has its own, and a
// namespace can have rules of several policies. The zero value owns nothing.
type Ownership struct {
	// Policies are the names of the policies, under which options are recorded beside rules.
	// Without a name they are not.
	Policies []string
	// Chains are the prefixes of the names of our chains, such as "MESH_".
	Chains []string
	// Comments are the prefixes of comments that a reference adds to its rules; see
	// [Ownership.Plain].
	Comments []string
	// Sets are the names of sets that are ours, unless others have made them.
	Sets []string
	// Addresses are those that only we add to the loopback interface, of IPv6.
	Addresses []netip.Prefix
	// Lookups are policy rules that are ours although nothing in them says so. The routes
	// of their tables are ours too, unless somebody else uses the table.
	Lookups []Lookup
}

// Lookup is the policy rule "fwmark Mark/Mask lookup Table". Mask 0 stands for all bits, as
// for the kernel (fib_nl2rule in net/core/fib_rules.c).
type Lookup struct{ Mark, Mask, Table uint32 }

// And returns what either owns.
func (o Ownership) And(other Ownership) Ownership {
	return Ownership{
		Policies:  withAll(o.Policies, other.Policies),
		Chains:    withAll(o.Chains, other.Chains),
		Comments:  withAll(o.Comments, other.Comments),
		Sets:      withAll(o.Sets, other.Sets),
		Addresses: withAll(o.Addresses, other.Addresses),
		Lookups:   withAll(o.Lookups, other.Lookups),
	}
}

// Owns reports whether a chain of that name is ours.
func (o Ownership) Owns(chain string) bool {
	return slices.ContainsFunc(o.Chains, func(prefix string) bool { return strings.HasPrefix(chain, prefix) })
}

// OwnsJump reports whether a rule jumps or goes to a chain of ours. Such a rule is ours
// in any chain.
func (o Ownership) OwnsJump(r Rule) bool {
	to, ok := r.JumpsTo()
	return ok && o.Owns(to)
}

// OwnsRule reports whether a rule of the named chain is ours.
func (o Ownership) OwnsRule(chain string, r Rule) bool { return o.Owns(chain) || o.OwnsJump(r) }

// OfTable returns the part of a table that is ours: our chains and, in other chains, the
// jumps to them, without policies. It leaves out chains without rules of ours, so the
// result has no chains if nothing is ours.
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

// Of returns what is ours in every table, in canonical order, without the tables in which
// nothing is.
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

// IsReachable reports whether other machines could reach this one by the address: whether
// it is neither link-local nor loopback, where ours are too.
func (o Ownership) IsReachable(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !slices.ContainsFunc(o.Addresses, func(p netip.Prefix) bool { return p.Addr() == a })
}

// Reachable returns the addresses of a family by which other machines could reach this one.
func (o Ownership) Reachable(f Family, addresses []netip.Prefix) []netip.Addr {
	var all []netip.Addr
	for _, p := range addresses {
		if a := p.Addr(); FamilyOf(a) == f && o.IsReachable(a) {
			all = append(all, a)
		}
	}
	return all
}

// ReadComments undoes [Rule.Commented] for our rules: it removes the comment and, unless
// the rule has an origin already, reads it as the origin. It removes a reference's comments
// too. All others stay.
func (o Ownership) ReadComments(rs Ruleset) Ruleset {
	return rs.Map(func(c *Chain, r Rule) Rule { return o.ReadComment(c.Name, r) })
}

// ReadComment is ReadComments for one rule of the named chain.
func (o Ownership) ReadComment(chain string, r Rule) Rule {
	if !o.OwnsRule(chain, r) {
		return r
	}
	r.Matches = slices.DeleteFunc(slices.Clone(r.Matches), func(m Match) bool {
		if o.isReferences(m) {
			return true
		}
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

// Plain returns rules without the comments that a reference has added to ours: they say in its
// words what ours do without them.
func (o Ownership) Plain(rs Ruleset) Ruleset {
	if !rs.HasRule(func(_ *Table, _ *Chain, r *Rule) bool { return slices.ContainsFunc(r.Matches, o.isReferences) }) {
		return rs
	}
	return rs.Map(func(c *Chain, r Rule) Rule {
		if o.OwnsRule(c.Name, r) {
			return o.plain(r)
		}
		return r
	})
}

// IsAsWanted reports whether a rule of ours that was read is as wanted. A comment of a
// reference makes no difference.
func (o Ownership) IsAsWanted(have, want Rule) bool {
	return have.Equal(want) || slices.ContainsFunc(have.Matches, o.isReferences) && o.plain(have).Equal(want)
}

func (o Ownership) plain(r Rule) Rule {
	r.Matches = slices.DeleteFunc(slices.Clone(r.Matches), o.isReferences)
	return r
}

// isReferences reports whether a match is a comment of a reference.
func (o Ownership) isReferences(m Match) bool {
	c, ok := m.(Comment)
	return ok && slices.ContainsFunc(o.Comments, func(prefix string) bool { return strings.HasPrefix(c.Text, prefix) })
}

// withAll returns a list with those of another that it lacks.
func withAll[T comparable](list, more []T) []T {
	all := slices.Clone(list)
	for _, x := range more {
		if !slices.Contains(all, x) {
			all = append(all, x)
		}
	}
	return all
}
