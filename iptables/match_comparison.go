package iptables

import "slices"

// Comparison is a match of nft that compares values, or looks them up in a set. Only rules
// that were read have it.
type Comparison struct {
	Keys     []Key
	Elements Elements
	// Not matches packets whose values are in no element.
	Not bool
	// Words are nft's, such as "ip daddr . tcp dport @backends".
	Words string
}

func (m Comparison) appendSave(words []string) []string { return append(words, m.Words) }

// MetBy looks the packet's values up. It returns a [*Doubt] if what is known of them does
// not decide.
func (m Comparison) MetBy(p *Packet) (bool, error) {
	found, certain, absent := m.find(p)
	switch {
	case absent:
		return false, nil
	case !certain:
		return false, m.doubt()
	}
	return (len(found) > 0) != m.Not, nil
}

// find returns the elements of which one may be the packet's, and whether one of them
// certainly is. absent says that the packet does not have a key.
func (m *Comparison) find(p *Packet) (found []int, certain, absent bool) {
	values := make([]loaded, len(m.Keys))
	for i := range m.Keys {
		values[i] = m.Keys[i].of(p)
		if values[i].absent {
			return nil, true, true
		}
	}
	found, certain = m.Elements.find(values)
	return found, certain, false
}

func (m *Comparison) doubt() *Doubt {
	return &Doubt{What: m.Words, Chance: slices.ContainsFunc(m.Keys, func(k Key) bool { return k.Chance })}
}

// Values implements [FieldMatch]. If there are more keys, only values in an element count.
func (m Comparison) Values(f SetField) (values []Interval, not, ok bool) {
	i := slices.IndexFunc(m.Keys, func(k Key) bool { return k.Field == Field(f) && k.Mask == "" && k.Xor == "" })
	if i < 0 {
		return nil, false, false
	}
	for _, e := range m.Elements.list {
		values = append(values, e[i])
	}
	// Values in a negated element may be accepted with others.
	return values, m.Not, !m.Not || len(m.Keys) == 1
}
