package compact

import (
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
)

// conditions are what a rule asks of a packet, in a form that can be compared.
type conditions struct {
	protocol iptables.ProtocolMatch
	// fields holds, in the order of iptables.SetFields, the values that each
	// may have.
	fields []constraint
	// states are those that the rule takes.
	states iptables.CTState
	// others can only be compared as text. Of these a packet's marks may
	// change between two rules.
	others []string
}

// constraint limits a field to the elements of a set, or to the rest. A packet
// without a socket has no owner: it is in no set of ids and outside of each, as
// it is for xt_owner.
type constraint struct {
	given bool
	not   bool
	set   iptables.Set // sorted
}

const anyState = iptables.StateInvalid | iptables.StateNew | iptables.StateRelated |
	iptables.StateEstablished | iptables.StateUntracked

func conditionsOf(r iptables.Rule) conditions {
	fields := iptables.SetFields()
	c := conditions{protocol: r.Protocol, fields: make([]constraint, len(fields)), states: anyState}
	for i, f := range fields {
		rest, not, values, ok := extract(r, f)
		if !ok {
			continue
		}
		c.fields[i] = constraint{true, not, iptables.NewSet(f, not, values)}
		r = rest
		r.Matches = slices.DeleteFunc(r.Matches, isHole)
	}
	for _, m := range r.Matches {
		if state, ok := m.(iptables.Conntrack); ok {
			if state.Not {
				state.States ^= anyState
			}
			c.states &= state.States
			continue
		}
		c.others = append(c.others, iptables.Rule{Matches: []iptables.Match{m}}.String())
	}
	r.Matches, r.Protocol, r.Target = nil, iptables.ProtocolMatch{}, nil
	if rest := r.String(); rest != "" {
		c.others = append(c.others, rest)
	}
	return c
}

// of returns what is asked of a field.
func (c *conditions) of(f iptables.SetField) *constraint {
	return &c.fields[slices.Index(iptables.SetFields(), f)]
}

// unconditional reports whether every packet meets the conditions.
func (c *conditions) unconditional() bool {
	return c.protocol == (iptables.ProtocolMatch{}) && c.states == anyState && len(c.others) == 0 &&
		!slices.ContainsFunc(c.fields, func(k constraint) bool { return k.given })
}

// imply reports whether a packet that meets c surely meets d, as long as its
// marks do not change between.
func (c *conditions) imply(d *conditions) bool {
	if d.protocol != (iptables.ProtocolMatch{}) && c.protocol != d.protocol || c.states&^d.states != 0 {
		return false
	}
	for i := range c.fields {
		if !c.fields[i].within(&d.fields[i]) {
			return false
		}
	}
	return !slices.ContainsFunc(d.others, func(other string) bool { return !slices.Contains(c.others, other) })
}

// disjoint reports whether surely no packet meets both.
func (c *conditions) disjoint(d *conditions) bool {
	if c.states&d.states == 0 {
		return true
	}
	bothProtocols := c.protocol != (iptables.ProtocolMatch{}) && d.protocol != (iptables.ProtocolMatch{})
	if same := c.protocol.Protocol == d.protocol.Protocol; bothProtocols &&
		(!c.protocol.Not && !d.protocol.Not && !same || c.protocol.Not != d.protocol.Not && same) {
		return true
	}
	for i := range c.fields {
		if c.fields[i].disjoint(&d.fields[i]) {
			return true
		}
	}
	return false
}

// within reports whether every value of k is one of l.
func (k *constraint) within(l *constraint) bool {
	switch {
	case !l.given:
		return true
	case !k.given:
		return false
	case k.not:
		return l.not && subset(l.set.Elements, &k.set)
	case l.not:
		return !overlap(k.set.Elements, l.set.Elements)
	}
	return subset(k.set.Elements, &l.set)
}

// disjoint reports whether k and l surely have no value in common.
func (k *constraint) disjoint(l *constraint) bool {
	switch {
	case !k.given || !l.given || k.not && l.not:
		return false
	case k.not:
		return subset(l.set.Elements, &k.set)
	case l.not:
		return subset(k.set.Elements, &l.set)
	}
	return !overlap(k.set.Elements, l.set.Elements)
}

// position returns the index of the first element that ends at v or later.
func position(elements []iptables.Interval, v iptables.Value) int {
	n, _ := slices.BinarySearchFunc(elements, v, func(i iptables.Interval, v iptables.Value) int {
		return strings.Compare(string(i.Last), string(v))
	})
	return n
}

func subset(a []iptables.Interval, b *iptables.Set) bool {
	return !slices.ContainsFunc(a, func(i iptables.Interval) bool {
		n := position(b.Elements, i.Last)
		return n == len(b.Elements) || b.Elements[n].First > i.First
	})
}

func overlap(a, b []iptables.Interval) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	return slices.ContainsFunc(a, func(i iptables.Interval) bool {
		n := position(b, i.First)
		return n < len(b) && b[n].First <= i.Last
	})
}
