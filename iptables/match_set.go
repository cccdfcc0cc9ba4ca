package iptables

// MetBy looks a field up. A packet without an owner has no id that could be in a set,
// nor one that could be outside of it.
func (s Set) MetBy(p *Packet) (bool, error) {
	value, ok := p.Value(s.Field)
	return ok && s.Contains(value) != s.Not, nil
}

// Values implements [FieldMatch].
func (s Set) Values(f SetField) (values []Interval, not, ok bool) {
	if f != s.Field {
		return nil, false, false
	}
	return s.Elements, s.Not, true
}
