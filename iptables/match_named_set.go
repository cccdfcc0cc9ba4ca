package iptables

import (
	"net/netip"
	"slices"
	"strings"
)

// NamedSet matches destinations in a set that has a name and is beside the rules, so that it
// can change without them: the match "set", or in nf_tables' own form a named set of the
// table.
type NamedSet struct {
	Name string
	// Index is the set's number in the kernel, which iptables' form has in place of the name;
	// 0 if it is not known yet. Only those who write it look at it.
	Index uint16
	// Content is what the set holds; nil if it was not read.
	Content *AddressSet
}

// AddressSet is the content of a [NamedSet].
type AddressSet struct {
	Family Family
	Name   string
	// Addresses are sorted, and each is there once.
	Addresses []netip.Addr
}

func (m NamedSet) appendSave(words []string) []string {
	return append(words, "-m", "set", "--match-set", m.Name, "dst")
}

// MetBy returns a [*Doubt] if it is not known what the set holds.
func (m NamedSet) MetBy(p *Packet) (bool, error) {
	if m.Content == nil {
		return false, &Doubt{What: strings.Join(m.appendSave(nil), " ")}
	}
	_, holds := slices.BinarySearchFunc(m.Content.Addresses, p.Destination, netip.Addr.Compare)
	return holds, nil
}

// Values implements [FieldMatch], if it is known what the set holds.
func (m NamedSet) Values(f SetField) (values []Interval, not, ok bool) {
	if f != DestinationAddress || m.Content == nil {
		return nil, false, false
	}
	for _, a := range m.Content.Addresses {
		values = append(values, PrefixInterval(netip.PrefixFrom(a, a.BitLen())))
	}
	return values, false, true
}

// LooksUpSet reports whether the rule looks up a named set.
func (r Rule) LooksUpSet() bool { return slices.ContainsFunc(r.Matches, isNamedSet) }

// MapSets returns the rule with to applied to each named set that it looks up.
func (r Rule) MapSets(to func(NamedSet) NamedSet) Rule {
	if !r.LooksUpSet() {
		return r
	}
	r.Matches = slices.Clone(r.Matches)
	for i, m := range r.Matches {
		if set, ok := m.(NamedSet); ok {
			r.Matches[i] = to(set)
		}
	}
	return r
}

func isNamedSet(m Match) bool {
	_, ok := m.(NamedSet)
	return ok
}

func parseNamedSet(words []string) Match {
	if len(words) != 3 || words[0] != "--match-set" || words[2] != "dst" {
		return nil
	}
	return NamedSet{Name: words[1]}
}
