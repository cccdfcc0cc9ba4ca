package iptables

import "iter"

// FieldMatch is a match on fields that a [Set] can look up.
type FieldMatch interface {
	Match
	// Values returns the values that the match accepts in a field, or with not those that
	// it rejects. It is not ok if the match has no condition on the field.
	Values(SetField) (values []Interval, not, ok bool)
}

// Values returns the values that the rule accepts in a field, or with not those that it
// rejects, however it is written. It is not ok if the rule has no condition on the field,
// or more than one.
func (r Rule) Values(f SetField) (values []Interval, not, ok bool) {
	conditions := 0
	for v, n := range r.Conditions(f) {
		values, not = v, n
		conditions++
	}
	if conditions != 1 {
		return nil, false, false
	}
	return values, not, true
}

// Named returns the values in the rule's conditions on a field, negated ones included.
func (r Rule) Named(f SetField) []Interval {
	var all []Interval
	for values := range r.Conditions(f) {
		all = append(all, values...)
	}
	return all
}

// Named returns the values in the conditions of a family's rules on a field, in rule
// order.
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

// Conditions returns the values of each condition on a field, and whether it is negated.
func (r Rule) Conditions(f SetField) iter.Seq2[[]Interval, bool] {
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
