package show

import (
	"fmt"
	"strings"

	"github.com/meshtables/meshtables/iptables"
)

// addressOf returns what a rule asks of an address, or nil for other fields.
func addressOf(r *iptables.Rule, f iptables.SetField) *iptables.Address {
	switch f {
	case iptables.SourceAddress:
		return &r.Source
	case iptables.DestinationAddress:
		return &r.Destination
	}
	return nil
}

// interfaceOf returns what a rule asks of an interface, or nil for other fields.
func interfaceOf(r *iptables.Rule, f iptables.SetField) *iptables.Interface {
	switch f {
	case iptables.InInterface:
		return &r.In
	case iptables.OutInterface:
		return &r.Out
	}
	return nil
}

// setOf returns the set that a rule's one condition on an address or interface is.
func setOf(r *iptables.Rule, f iptables.SetField) (s iptables.Set, ok bool) {
	if a := addressOf(r, f); a != nil && *a != (iptables.Address{}) {
		return s, false
	}
	if i := interfaceOf(r, f); i != nil && *i != (iptables.Interface{}) {
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

// isPlaced reports whether a match has its place in the sentence beside the other
// conditions on addresses and interfaces.
func isPlaced(r *iptables.Rule, m iptables.Match) bool {
	s, ok := m.(iptables.Set)
	if !ok || addressOf(r, s.Field) == nil && interfaceOf(r, s.Field) == nil {
		return false
	}
	_, ok = setOf(r, s.Field)
	return ok
}

// maxListed is how many values of a set are spelled out.
const maxListed = 8

// list returns the values of a set, or the first of them.
func list(s iptables.Set) string {
	var values []string
	for _, e := range s.Elements[:min(len(s.Elements), maxListed)] {
		values = append(values, element(s.Field, e))
	}
	words := strings.Join(values, ",")
	if len(s.Elements) > maxListed {
		words += fmt.Sprintf(",... (%d values)", len(s.Elements))
	}
	return words
}

func element(f iptables.SetField, e iptables.Interval) string {
	if addressOf(&iptables.Rule{}, f) != nil {
		if p, ok := e.Prefix(); ok {
			return prefix(p)
		}
	}
	return e.Text(f)
}
