package show

import "github.com/meshtables/meshtables/iptables"

// setOf returns a rule's condition on an address or interface if it is a single set.
func setOf(r *iptables.Rule, f iptables.SetField) (s iptables.Set, ok bool) {
	if a := r.Address(f); a != nil && *a != (iptables.Address{}) {
		return s, false
	}
	if i := r.Interface(f); i != nil && *i != (iptables.Interface{}) {
		return s, false
	}
	for _, m := range r.Matches {
		if isSetOf(m, f) {
			if ok {
				return s, false
			}
			s, ok = m.(iptables.Set), true
		}
	}
	return s, ok
}

func isSetOf(m iptables.Match, f iptables.SetField) bool {
	s, ok := m.(iptables.Set)
	return ok && s.Field == f
}

// isPlaced reports whether a match is printed beside the other conditions on addresses
// and interfaces.
func isPlaced(r *iptables.Rule, m iptables.Match) bool {
	s, ok := m.(iptables.Set)
	if !ok || r.Address(s.Field) == nil && r.Interface(s.Field) == nil {
		return false
	}
	_, ok = setOf(r, s.Field)
	return ok
}

// list returns the values of a set, or the first of them.
func list(s iptables.Set) string {
	values := make([]string, len(s.Elements))
	for i, e := range s.Elements {
		values[i] = element(s.Field, e)
	}
	return iptables.ShortList(values, iptables.MaxListed)
}

func element(f iptables.SetField, e iptables.Interval) string {
	if new(iptables.Rule).Address(f) != nil {
		if p, ok := e.Prefix(); ok {
			return prefix(p)
		}
	}
	return e.Text(f)
}
