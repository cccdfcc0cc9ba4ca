package compact

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
)

// hole stands in a rule for the match that was taken out of it.
var hole = iptables.UnknownMatch{Args: []string{"any of"}}

// Values returns the values of which a packet's field must have one, or with not
// may have none, for a rule to match, whatever the words. It is not ok if the rule
// asks nothing of that field, or more than one thing.
func Values(r iptables.Rule, f iptables.SetField) (values []iptables.Interval, not, ok bool) {
	_, not, values, ok = extract(r, f)
	return values, not, ok
}

// Named returns the values that a rule's conditions on a field name, those that a
// packet may not have too.
func Named(r iptables.Rule, f iptables.SetField) []iptables.Interval {
	var all []iptables.Interval
	if a := r.Address(f); a != nil && *a != (iptables.Address{}) {
		all = append(all, iptables.PrefixInterval(a.Prefix))
	}
	if i := r.Interface(f); i != nil && *i != (iptables.Interface{}) {
		all = append(all, iptables.InterfaceInterval(i.Name))
	}
	for _, m := range r.Matches {
		if _, _, intervals, ok := extractMatch(m, f); ok {
			all = append(all, intervals...)
		}
	}
	return all
}

// extract takes the match on a field out of a rule. It is ok if there is exactly
// one, and what is left has a hole in its place.
func extract(r iptables.Rule, f iptables.SetField) (rest iptables.Rule, not bool, values []iptables.Interval, ok bool) {
	rest = r
	if !asks(&r, f) {
		return rest, false, nil, false
	}
	rest.Matches = make([]iptables.Match, 0, len(r.Matches)+1)
	found := 0
	take := func(negated bool, intervals ...iptables.Interval) {
		found++
		not, values = negated, intervals
		rest.Matches = append(rest.Matches, hole)
	}
	if a := rest.Address(f); a != nil && *a != (iptables.Address{}) {
		take(a.Not, iptables.PrefixInterval(a.Prefix))
		*a = iptables.Address{}
	}
	if i := rest.Interface(f); i != nil && *i != (iptables.Interface{}) {
		take(i.Not, iptables.InterfaceInterval(i.Name))
		*i = iptables.Interface{}
	}
	for _, m := range r.Matches {
		if left, negated, intervals, ok := extractMatch(m, f); ok {
			if left != nil {
				rest.Matches = append(rest.Matches, left)
			}
			take(negated, intervals...)
			continue
		}
		rest.Matches = append(rest.Matches, m)
	}
	return rest, not, values, found == 1
}

// asks reports whether a rule asks anything of a field.
func asks(r *iptables.Rule, f iptables.SetField) bool {
	if a := r.Address(f); a != nil && *a != (iptables.Address{}) {
		return true
	}
	if i := r.Interface(f); i != nil && *i != (iptables.Interface{}) {
		return true
	}
	return slices.ContainsFunc(r.Matches, func(m iptables.Match) bool {
		_, _, _, ok := extractMatch(m, f)
		return ok
	})
}

// extractMatch takes a field out of an extension match, of which other fields
// may be left.
func extractMatch(m iptables.Match, f iptables.SetField) (left iptables.Match, not bool, values []iptables.Interval, ok bool) {
	switch m := m.(type) {
	case iptables.Set:
		return nil, m.Not, m.Elements, m.Field == f
	case iptables.Ports:
		side, other := &m.Source, &m.Destination
		if f == iptables.DestinationPort {
			side, other = other, side
		} else if f != iptables.SourcePort {
			return nil, false, nil, false
		}
		p := *side
		*side = iptables.PortMatch{}
		if !p.Set {
			return nil, false, nil, false
		}
		if other.Set {
			left = m
		}
		return left, p.Not, []iptables.Interval{iptables.PortInterval(p.Range)}, true
	case iptables.Multiport:
		if m.Side == iptables.SourcePorts && f != iptables.SourcePort ||
			m.Side == iptables.DestinationPorts && f != iptables.DestinationPort || m.Side == iptables.EitherPorts {
			return nil, false, nil, false
		}
		for _, r := range m.Ports {
			values = append(values, iptables.PortInterval(r))
		}
		return nil, m.Not, values, true
	case iptables.Owner:
		id, other := &m.UID, &m.GID
		if f == iptables.OwnerGID {
			id, other = other, id
		} else if f != iptables.OwnerUID {
			return nil, false, nil, false
		}
		p := *id
		*id = iptables.IDMatch{}
		if !p.Set {
			return nil, false, nil, false
		}
		if other.Set {
			left = m
		}
		return left, p.Not, []iptables.Interval{iptables.IDInterval(p.First, p.Last)}, true
	}
	return nil, false, nil, false
}

// restore puts a match on a field into the hole that extract left.
func restore(rest iptables.Rule, s iptables.Set) iptables.Rule {
	r := rest
	r.Matches = slices.Clone(rest.Matches)
	at := slices.IndexFunc(r.Matches, isHole)
	m := matchFor(&r, s)
	if m == nil {
		r.Matches = slices.Delete(r.Matches, at, at+1)
		return r
	}
	r.Matches[at] = m
	if at > 0 {
		if joined, ok := join(r.Matches[at-1], m); ok {
			r.Matches = slices.Replace(r.Matches, at-1, at+1, joined)
		}
	}
	return r
}

func isHole(m iptables.Match) bool {
	u, ok := m.(iptables.UnknownMatch)
	return ok && u.Name == hole.Name && slices.Equal(u.Args, hole.Args)
}

// matchFor returns the plainest match for a set, which is none with Not: one that iptables has, if there
// is one. It returns nil if it could set a field of the rule itself, or leave it
// unset, as every packet has an address and an interface's name, be it empty.
func matchFor(r *iptables.Rule, s iptables.Set) iptables.Match {
	if len(s.Elements) != 1 {
		return s
	}
	only := s.Elements[0]
	if a := r.Address(s.Field); a != nil {
		p, ok := only.Prefix()
		if !ok {
			return s
		}
		*a = iptables.MatchAddress(p)
		return nil
	}
	if i := r.Interface(s.Field); i != nil {
		name, ok := only.Interface()
		if !ok {
			return s
		}
		*i = iptables.MatchInterface(name)
		return nil
	}
	switch s.Field {
	case iptables.SourcePort:
		return iptables.Ports{Protocol: r.Protocol.Protocol, Source: iptables.PortMatch{Range: only.Ports(), Set: true}}
	case iptables.DestinationPort:
		return iptables.Ports{Protocol: r.Protocol.Protocol, Destination: iptables.PortMatch{Range: only.Ports(), Set: true}}
	}
	first, last := only.IDs()
	id := iptables.IDMatch{First: first, Last: last, Set: true}
	if s.Field == iptables.OwnerGID {
		return iptables.Owner{GID: id}
	}
	return iptables.Owner{UID: id}
}

// join makes one match of those on source and destination port, as both are
// options of one "-m tcp".
func join(a, b iptables.Match) (iptables.Match, bool) {
	source, ok1 := a.(iptables.Ports)
	destination, ok2 := b.(iptables.Ports)
	if !ok1 || !ok2 || !source.Source.Set || source.Destination.Set || destination.Source.Set {
		return nil, false
	}
	source.Destination = destination.Destination
	return source, true
}
