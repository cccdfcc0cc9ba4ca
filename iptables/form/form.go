// Package form writes a plan in a form. It does not know what the rules are for.
//
// [IPTables] is iptables' form: a rule for each value of a list, or up to 15 ports a rule
// for long lists. [Native] is nf_tables' form: a set for each list, and one rule for both
// families. Both are pure functions. Everything else loads, compares, verifies and
// explains what they return.
package form

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
)

// maxItems is how many items of a list the origin of a rule shows: a comment has little
// room.
const maxItems = 8

// listIn returns the index of the first list in a rule's matches, or -1.
func listIn(r *iptables.Rule) int {
	return slices.IndexFunc(r.Matches, func(m iptables.Match) bool {
		_, ok := m.(iptables.List)
		return ok
	})
}

// withInterval returns a rule with one interval of a field in place of the match at an
// index. It is not ok if iptables cannot match that. Every packet has an address and an
// interface name, so an interval of all of them is no condition.
func withInterval(r iptables.Rule, at int, f iptables.SetField, not bool, v iptables.Interval) (_ iptables.Rule, ok bool) {
	if a := r.Address(f); a != nil {
		p, ok := v.Prefix()
		if !ok {
			return r, false
		}
		if *a = iptables.MatchAddress(p); *a != (iptables.Address{}) {
			a.Not = not
		}
		r.Matches = slices.Concat(r.Matches[:at], r.Matches[at+1:])
		return r, true
	}
	if i := r.Interface(f); i != nil {
		name, ok := v.Interface()
		if !ok {
			return r, false
		}
		if *i = iptables.MatchInterface(name); *i != (iptables.Interface{}) {
			i.Not = not
		}
		r.Matches = slices.Concat(r.Matches[:at], r.Matches[at+1:])
		return r, true
	}
	r.Matches = slices.Clone(r.Matches)
	r.Matches[at] = intervalMatch(r.Protocol.Protocol, f, not, v)
	return r, true
}

// intervalMatch returns the extension match for one interval of ports or ids.
func intervalMatch(p iptables.Protocol, f iptables.SetField, not bool, v iptables.Interval) iptables.Match {
	switch f {
	case iptables.SourcePort:
		return iptables.Ports{Protocol: p, Source: iptables.PortMatch{Range: v.Ports(), Not: not, Set: true}}
	case iptables.DestinationPort:
		return iptables.Ports{Protocol: p, Destination: iptables.PortMatch{Range: v.Ports(), Not: not, Set: true}}
	}
	first, last := v.IDs()
	id := iptables.IDMatch{First: first, Last: last, Not: not, Set: true}
	if f == iptables.OwnerGID {
		return iptables.Owner{GID: id}
	}
	return iptables.Owner{UID: id}
}

// forFamily returns a rule with a family's addresses in place of those that the plan
// leaves open.
func forFamily(r iptables.Rule, f iptables.Family) iptables.Rule {
	if t, ok := r.Target.(iptables.TProxy); ok && !t.IP.IsValid() {
		t.IP = f.Unspecified()
		r.Target = t
	}
	return r
}
