package iptables

import (
	"slices"
	"strings"
)

// Set matches one field of a packet against a list of values. nf_tables does that with
// one lookup, however long the list. iptables has no such match, so only rulesets of the
// native form have sets. The text of a set, such as "--dport {80,443,8000:8010}", is for
// people.
type Set struct {
	Field SetField
	Not   bool
	// Elements are in order and do not overlap. Only those of interfaces may touch; see
	// [NewSet].
	Elements []Interval
}

// SetField is the field that a [Set] looks up, named by iptables' option for one value.
type SetField string

// The fields that a set can look up. Those of ports need a rule that matches the protocol
// too.
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

// SetFields returns all fields that a set can look up.
func SetFields() []SetField {
	return []SetField{
		SourceAddress, DestinationAddress, InInterface, OutInterface,
		SourcePort, DestinationPort, OwnerUID, OwnerGID,
	}
}

// Address returns the rule's own match of the field if it is an address, else nil.
func (r *Rule) Address(f SetField) *Address {
	switch f {
	case SourceAddress:
		return &r.Source
	case DestinationAddress:
		return &r.Destination
	}
	return nil
}

// Interface returns the rule's own match of the field if it is an interface, else nil.
func (r *Rule) Interface(f SetField) *Interface {
	switch f {
	case InInterface:
		return &r.In
	case OutInterface:
		return &r.Out
	}
	return nil
}

// NewSet returns the set of all values in the intervals, which may overlap and come in
// any order. It joins those that overlap or touch. It does not join interface names that
// only touch, such as "veth0+" and "veth1+": nft cannot write them as one.
func NewSet(field SetField, not bool, intervals []Interval) Set {
	names := field == InInterface || field == OutInterface
	return Set{Field: field, Not: not, Elements: union(intervals, !names)}
}

// union sorts intervals and joins those that overlap, and with touching those that touch.
func union(intervals []Interval, touching bool) []Interval {
	joined := func(a, b Interval) bool { return b.First <= a.Last || touching && a.touches(b) }
	if isApart(intervals, joined) {
		// It is often so, and lists can be long.
		return slices.Clip(intervals)
	}
	sorted := slices.Clone(intervals)
	slices.SortFunc(sorted, func(a, b Interval) int { return strings.Compare(string(a.First), string(b.First)) })
	merged := sorted[:0]
	for _, i := range sorted {
		if n := len(merged) - 1; n >= 0 && joined(merged[n], i) {
			merged[n].Last = max(merged[n].Last, i.Last)
			continue
		}
		merged = append(merged, i)
	}
	return slices.Clip(merged)
}

// isApart reports whether intervals are in order and none is joined to the next.
func isApart(intervals []Interval, joined func(a, b Interval) bool) bool {
	for i := 1; i < len(intervals); i++ {
		if joined(intervals[i-1], intervals[i]) {
			return false
		}
	}
	return true
}

// Contains reports whether a value is in the set, whatever Not says.
func (s Set) Contains(v Value) bool {
	n, found := slices.BinarySearchFunc(s.Elements, v, func(i Interval, v Value) int {
		return strings.Compare(string(i.First), string(v))
	})
	return found || n > 0 && s.Elements[n-1].Contains(v)
}

func (s Set) appendSave(words []string) []string {
	values := []byte("{")
	for i, e := range s.Elements {
		if i > 0 {
			values = append(values, ',')
		}
		values = e.AppendText(values, s.Field)
	}
	return append(appendNot(words, s.Not), string(s.Field), string(append(values, '}')))
}
