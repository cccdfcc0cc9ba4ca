package iptables

import (
	"slices"
	"strings"
)

// Set is a match of one field of a packet with any of a list of values: what
// nf_tables finds with one lookup, however long the list. iptables has no such
// match, so a ruleset with sets is one of the native form only, and the text of
// a set, such as "--dport {80,443,8000:8010}", is for people.
type Set struct {
	Field SetField
	Not   bool
	// Elements are in order and do not overlap, nor touch unless they are of
	// interfaces; see [NewSet].
	Elements []Interval
}

// SetField is what a [Set] looks at, by the option that iptables has for one
// value of it.
type SetField string

// The fields that can be looked up in a set. Those of ports need a rule that
// matches the protocol too.
const (
	SourceAddress      SetField = "-s"
	DestinationAddress SetField = "-d"
	InInterface        SetField = "-i"
	OutInterface       SetField = "-o"
	SourcePort         SetField = "--sport"
	DestinationPort    SetField = "--dport"
	OwnerUID           SetField = "--uid-owner"
	OwnerGID           SetField = "--gid-owner"
)

// SetFields returns all fields that can be looked up in a set.
func SetFields() []SetField {
	return []SetField{
		SourceAddress, DestinationAddress, InInterface, OutInterface,
		SourcePort, DestinationPort, OwnerUID, OwnerGID,
	}
}

// Address returns where the rule itself has the field, if that is an address; else
// nil.
func (r *Rule) Address(f SetField) *Address {
	switch f {
	case SourceAddress:
		return &r.Source
	case DestinationAddress:
		return &r.Destination
	}
	return nil
}

// Interface returns where the rule itself has the field, if that is an interface;
// else nil.
func (r *Rule) Interface(f SetField) *Interface {
	switch f {
	case InInterface:
		return &r.In
	case OutInterface:
		return &r.Out
	}
	return nil
}

// NewSet returns the set of all values in the intervals, which may overlap and
// come in any order. It joins those that overlap or touch; of names of interfaces
// only the former, as what "veth0+" and "veth1+" stand for touches, and nft has no
// words for both in one.
func NewSet(field SetField, not bool, intervals []Interval) Set {
	names := field == InInterface || field == OutInterface
	return Set{Field: field, Not: not, Elements: union(intervals, !names)}
}

// union sorts intervals and makes one of those that overlap, and with touching of
// those that touch.
func union(intervals []Interval, touching bool) []Interval {
	sorted := slices.Clone(intervals)
	slices.SortFunc(sorted, func(a, b Interval) int { return strings.Compare(string(a.First), string(b.First)) })
	merged := sorted[:0]
	for _, i := range sorted {
		if n := len(merged) - 1; n >= 0 && (i.First <= merged[n].Last || touching && merged[n].touches(i)) {
			merged[n].Last = max(merged[n].Last, i.Last)
			continue
		}
		merged = append(merged, i)
	}
	return slices.Clip(merged)
}

// Contains reports whether a value is one of the set's elements, Not aside.
func (s Set) Contains(v Value) bool {
	n, found := slices.BinarySearchFunc(s.Elements, v, func(i Interval, v Value) int {
		return strings.Compare(string(i.First), string(v))
	})
	return found || n > 0 && s.Elements[n-1].Contains(v)
}

func (s Set) appendSave(words []string) []string {
	values := make([]string, len(s.Elements))
	for i, e := range s.Elements {
		values[i] = e.Text(s.Field)
	}
	return append(appendNot(words, s.Not), string(s.Field), "{"+strings.Join(values, ",")+"}")
}
