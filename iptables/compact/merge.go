package compact

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
)

// shape is what rules that differ in the values of one field only have in
// common, the option that they come from included.
type shape struct {
	field  iptables.SetField
	rest   string
	option string
}

// merged is a rule, or several of one shape that have become one.
type merged struct {
	rule   iptables.Rule
	effect effect
	// known is what conditions has found out, which few rules need.
	known *conditions

	shape shape
	rest  iptables.Rule
	// values are sorted when finish is done.
	values []iptables.Interval
	from   []string // the values of the options
}

// merger merges the rules of one chain.
type merger struct {
	effects *effects
	// allowed tells which shapes may be merged.
	allowed func(shape) bool
	done    []*merged
	// at holds the place in done of what has each shape so far.
	at map[shape]int
	// spare is one that has become a part of another, as most do in long lists.
	spare *merged
}

// merge makes one rule of those that have one shape, where the order of rules
// allows it.
func merge(chain []iptables.Rule, e *effects, over []iptables.SetField, allowed func(shape) bool) []*merged {
	m := merger{effects: e, allowed: allowed, at: make(map[shape]int)}
	for _, r := range chain {
		m.add(r, over)
	}
	for _, done := range m.done {
		done.finish()
	}
	return m.done
}

func (m *merger) add(r iptables.Rule, over []iptables.SetField) {
	next := m.spare
	m.spare = nil
	if next == nil {
		next = new(merged)
	}
	*next = merged{rule: r, effect: m.effects.of(r.Target)}
	var shapes []shape
	for _, f := range over {
		rest, not, values, ok := extract(r, f)
		if !ok || not {
			continue
		}
		s := shape{f, rest.String(), r.Origin.Option}
		if !m.allowed(s) {
			continue
		}
		if place, ok := m.at[s]; ok && m.mayMove(next, place, f, values) {
			m.done[place].include(f, rest, s, values, r.Origin.Value)
			m.spare = next
			return
		}
		shapes = append(shapes, s)
	}
	for _, s := range shapes {
		m.at[s] = len(m.done)
	}
	m.done = append(m.done, next)
}

// mayMove reports whether a rule can be made a part of the one at place.
func (m *merger) mayMove(r *merged, place int, f iptables.SetField, values []iptables.Interval) bool {
	into := m.done[place]
	if into.shape != (shape{}) && into.shape.field != f {
		// It has become the list of another field.
		return false
	}
	if !r.effect.pure && !into.conditions().disjoint(r.conditions()) {
		return false
	}
	return !slices.ContainsFunc(m.done[place+1:], func(between *merged) bool {
		return !commute(between, r)
	})
}

// commute reports whether the order of two rules makes no difference: no packet
// meets both, or they do the same, and doing it twice is doing it once.
func commute(a, b *merged) bool {
	same := a.effect.pure && sameTarget(a.rule.Target, b.rule.Target)
	return same || a.conditions().disjoint(b.conditions())
}

func sameTarget(a, b iptables.Target) bool {
	switch a.(type) {
	case iptables.Verdict, iptables.Jump:
		return a == b
	}
	return iptables.Rule{Target: a}.Equal(iptables.Rule{Target: b})
}

// conditions returns what all the rules that g was made of ask of a packet.
func (g *merged) conditions() *conditions {
	if g.known == nil {
		c := conditionsOf(g.rule)
		if g.shape != (shape{}) {
			c.of(g.shape.field).set = iptables.NewSet(g.shape.field, false, g.values)
		}
		g.known = &c
	}
	return g.known
}

func (g *merged) include(f iptables.SetField, rest iptables.Rule, s shape, values []iptables.Interval, from string) {
	if g.shape == (shape{}) {
		_, _, own, _ := extract(g.rule, f)
		g.shape, g.rest, g.values = s, rest, slices.Clone(own)
		g.from = []string{g.rule.Origin.Value}
	}
	g.values = append(g.values, values...)
	g.from = append(g.from, from)
	if g.known != nil {
		g.known.of(f).insert(values)
	}
}

// insert adds values and keeps the elements sorted, one by one: a list comes in
// the order in which it was given.
func (k *constraint) insert(values []iptables.Interval) {
	for _, v := range values {
		n := position(k.set.Elements, v.First)
		if n < len(k.set.Elements) && k.set.Elements[n].First <= v.Last {
			k.set = iptables.NewSet(k.set.Field, false, append(k.set.Elements, v))
			continue
		}
		k.set.Elements = slices.Insert(k.set.Elements, n, v)
	}
}

// finish writes the rule of a merged list.
func (g *merged) finish() {
	if g.shape == (shape{}) {
		return
	}
	set := iptables.NewSet(g.shape.field, false, g.values)
	g.rule, g.values = restore(g.rest, set), set.Elements
	g.rule.Origin = iptables.Origin{Option: g.shape.option, Value: list(slices.Compact(g.from))}
}

// maxStored is how many values of a list a rule is stored with: its comment has little
// room.
const maxStored = 8

func list(values []string) string { return iptables.ShortList(values, maxStored) }
