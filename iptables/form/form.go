// Package form writes a plan in the words of a form, and knows nothing of what the rules
// are for.
//
// [IPTables] is the form that iptables has: a rule for each value of a list, and of long
// lists of ports up to 15 a rule. [Native] is that of nf_tables: a set for each list,
// and a rule for both families once. Both are pure, and what they return is what is
// loaded, compared, verified and explained from then on.
package form

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
)

// maxItems is how many items of a list the origin of a rule spells out: a comment has
// little room.
const maxItems = 8

// originOf returns the origin of a rule that is about some items of a list.
func originOf(o iptables.Origin, items []string) iptables.Origin {
	o.Value = iptables.ShortList(items, maxItems)
	return o
}

// listIn returns where the first list is in the matches of a rule, or -1.
func listIn(r *iptables.Rule) int {
	return slices.IndexFunc(r.Matches, func(m iptables.Match) bool {
		_, ok := m.(iptables.List)
		return ok
	})
}

// withInterval returns a rule in which the match at a place asks for one interval of a
// field instead. It is not ok if iptables has no words for that. Every packet has an
// address and the name of an interface, so all of those are no condition.
func withInterval(r iptables.Rule, at int, f iptables.SetField, not bool, v iptables.Interval) (_ iptables.Rule, ok bool) {
	matches := slices.Clone(r.Matches)
	if a := r.Address(f); a != nil {
		p, ok := v.Prefix()
		if !ok {
			return r, false
		}
		if *a = iptables.MatchAddress(p); *a != (iptables.Address{}) {
			a.Not = not
		}
		r.Matches = slices.Delete(matches, at, at+1)
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
		r.Matches = slices.Delete(matches, at, at+1)
		return r, true
	}
	matches[at] = intervalMatch(r.Protocol.Protocol, f, not, v)
	r.Matches = matches
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

// forFamily returns a rule with the addresses of a family in place of those that the
// plan leaves open.
func forFamily(r iptables.Rule, f iptables.Family) iptables.Rule {
	if t, ok := r.Target.(iptables.TProxy); ok && !t.IP.IsValid() {
		t.IP = f.Unspecified()
		r.Target = t
	}
	return r
}
