package iptables

import "iter"

// FieldMatch is a match on fields that a [Set] can look up.
type FieldMatch interface {
	Match
	// Values returns the values of which a packet must have one in a field, or with
	// not may have none, to meet what the match asks of that field. It is not ok if
	// that is nothing.
	Values(SetField) (values []Interval, not, ok bool)
}

// Values returns the values of which a packet must have one in a field, or with not may
// have none, to match the rule, whatever the words. It is not ok if the rule asks
// nothing of that field, or more than one thing.
func (r Rule) Values(f SetField) (values []Interval, not, ok bool) {
	conditions := 0
	for v, n := range r.conditions(f) {
		values, not = v, n
		conditions++
	}
	if conditions != 1 {
		return nil, false, false
	}
	return values, not, true
}

// Named returns the values that the rule's conditions on a field name, those that a
// packet may not have too.
func (r Rule) Named(f SetField) []Interval {
	var all []Interval
	for values := range r.conditions(f) {
		all = append(all, values...)
	}
	return all
}

// Named returns the values that rules of a family name, in the order of the rules.
func (rs *Ruleset) Named(family Family, f SetField) []Interval {
	var all []Interval
	for _, t := range rs.Tables {
		if t.Family != family {
			continue
		}
		for _, c := range t.Chains {
			for _, r := range c.Rules {
				all = append(all, r.Named(f)...)
			}
		}
	}
	return all
}

// conditions returns the values of each condition on a field, and whether packets may
// not have them.
func (r Rule) conditions(f SetField) iter.Seq2[[]Interval, bool] {
	return func(yield func([]Interval, bool) bool) {
		if a := r.Address(f); a != nil && *a != (Address{}) && !yield([]Interval{PrefixInterval(a.Prefix)}, a.Not) {
			return
		}
		if i := r.Interface(f); i != nil && *i != (Interface{}) && !yield([]Interval{InterfaceInterval(i.Name)}, i.Not) {
			return
		}
		for _, m := range r.Matches {
			m, ok := m.(FieldMatch)
			if !ok {
				continue
			}
			if values, not, ok := m.Values(f); ok && !yield(values, not) {
				return
			}
		}
	}
}
