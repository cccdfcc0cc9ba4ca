package show

import (
	"net/netip"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

// flow is the way of packets from a built-in chain through our chains, or through chains
// of ours that no rule leads to.
type flow struct {
	table string
	// families are those whose rules differ only in addresses.
	families []iptables.Family
	start    *chain
	// reached is false for chains that no rule leads to. disabled says that no packet
	// reaches any chain.
	reached, disabled bool
}

type chain struct {
	name string
	// policy and counters are those of a built-in chain. Everything per family is in the
	// order of the flow's families.
	policy   iptables.Policy
	counters []counters
	steps    []step
	// again marks a chain whose steps were listed before in this flow. shared marks a
	// chain that several rules of the table lead to: its counters are the sum.
	again, shared bool
}

// step is a rule.
type step struct {
	rules   []iptables.Rule // one for each family
	foreign bool
	// to is our chain that it leads to, or nil.
	to *chain
}

// hooks are the built-in chains that can have something of ours.
var hooks = [...]string{iptables.Prerouting, "INPUT", "FORWARD", iptables.Output, "POSTROUTING"}

// tables are those that we use, in the order in which a packet passes them at each hook
// (enum nf_ip_hook_priorities in linux/netfilter_ipv4.h).
var tables = [...]string{iptables.Raw, iptables.Mangle, iptables.Nat}

// flows returns the ways of packets. Families with the same way share one.
func flows(b *Backend) []flow {
	var all []flow
	for _, hook := range hooks {
		for _, table := range tables {
			all = append(all, b.starts(table, true, func(t *iptables.Table) []string {
				own := b.Ownership.OfTable(t)
				if own.Chain(hook) == nil {
					return nil
				}
				return []string{hook}
			})...)
		}
	}
	for _, table := range tables {
		all = append(all, b.starts(table, false, b.unreached)...)
	}
	_, disabled := installed.Disabling(b.Faults)
	for i := range all {
		all[i].disabled = disabled
	}
	return all
}

// starts returns the flows that start at chains of a table.
func (b *Backend) starts(table string, reached bool, chains func(*iptables.Table) []string) []flow {
	var all []flow
	v4, v6 := b.Rules.Table(iptables.IPv4, table), b.Rules.Table(iptables.IPv6, table)
	var names4, names6 []string
	if v4 != nil {
		names4 = chains(v4)
	}
	if v6 != nil {
		names6 = chains(v6)
	}
	for _, name := range names4 {
		together := []*iptables.Table{v4}
		if i := slices.Index(names6, name); i >= 0 && b.sameShape(v4, v6, name, make(map[string]bool)) {
			together = append(together, v6)
			names6 = slices.Delete(names6, i, i+1)
		}
		all = append(all, b.newFlow(together, name, reached))
	}
	for _, name := range names6 {
		all = append(all, b.newFlow([]*iptables.Table{v6}, name, reached))
	}
	return all
}

// unreached returns our chains that no other chain jumps to.
func (b *Backend) unreached(t *iptables.Table) []string {
	led := make(map[string]bool)
	for _, c := range t.Chains {
		for _, r := range c.Rules {
			if to, ok := r.JumpsTo(); ok {
				led[to] = true
			}
		}
	}
	var names []string
	for _, c := range t.Chains {
		if b.Ownership.Owns(c.Name) && !led[c.Name] {
			names = append(names, c.Name)
		}
	}
	return names
}

// sameShape reports whether a chain, and every chain of ours that it leads to, has the
// same rules in both tables, apart from addresses.
func (b *Backend) sameShape(t, u *iptables.Table, name string, seen map[string]bool) bool {
	if seen[name] {
		return true
	}
	seen[name] = true
	c, d := t.Chain(name), u.Chain(name)
	if c == nil || d == nil {
		return c == d
	}
	if c.Policy != d.Policy || len(c.Rules) != len(d.Rules) {
		return false
	}
	for i := range c.Rules {
		if shape(c.Rules[i]) != shape(d.Rules[i]) {
			return false
		}
		if to, ok := c.Rules[i].JumpsTo(); ok && b.Ownership.Owns(to) && !b.sameShape(t, u, to, seen) {
			return false
		}
	}
	return true
}

// shape returns a rule with all addresses replaced by one.
func shape(r iptables.Rule) string {
	for _, f := range []iptables.SetField{iptables.SourceAddress, iptables.DestinationAddress} {
		a := r.Address(f)
		if s, ok := setOf(&r, f); ok {
			*a = iptables.Address{Prefix: anyPrefix, Not: s.Not}
			r.Matches = slices.DeleteFunc(slices.Clone(r.Matches), func(m iptables.Match) bool { return isSetOf(m, f) })
		} else if *a != (iptables.Address{}) {
			a.Prefix = anyPrefix
		}
	}
	if t, ok := r.Target.(iptables.TProxy); ok && t.IP.IsUnspecified() {
		t.IP = netip.Addr{}
		r.Target = t
	}
	return r.String()
}

// anyPrefix stands for any address in the shape of a rule.
var anyPrefix = netip.MustParsePrefix("192.0.2.0/24")

func (b *Backend) newFlow(same []*iptables.Table, start string, reached bool) flow {
	f := flow{table: same[0].Name, reached: reached}
	for _, t := range same {
		f.families = append(f.families, t.Family)
	}
	f.start = b.newChainOf(same, start, make(map[string]bool))
	return f
}

// newChainOf returns a chain, and what it leads to, of tables with the same shape.
func (b *Backend) newChainOf(same []*iptables.Table, name string, listed map[string]bool) *chain {
	first := same[0].Chain(name)
	c := &chain{name: name, again: listed[name], shared: callers(same[0], name) > 1}
	if first == nil || c.again {
		return c
	}
	listed[name] = true
	c.policy = first.Policy
	for _, t := range same {
		c.counters = append(c.counters, counters{Counters: t.Chain(name).Counters})
	}
	for i := range first.Rules {
		s := step{foreign: !b.Ownership.OwnsRule(name, first.Rules[i])}
		for _, t := range same {
			s.rules = append(s.rules, t.Chain(name).Rules[i])
		}
		if to, ok := s.rules[0].JumpsTo(); ok && b.Ownership.Owns(to) {
			s.to = b.newChainOf(same, to, listed)
		}
		c.steps = append(c.steps, s)
	}
	return c
}

// callers returns how many rules of a table lead to a chain.
func callers(t *iptables.Table, name string) int {
	n := 0
	for _, c := range t.Chains {
		for _, r := range c.Rules {
			if to, ok := r.JumpsTo(); ok && to == name {
				n++
			}
		}
	}
	return n
}
