package iptables

import "fmt"

func (s Set) validate(r *Rule) error {
	if ports := s.Field == SourcePort || s.Field == DestinationPort; ports && !r.isOfPorts() {
		return fmt.Errorf("a set of %s needs -p tcp or -p udp", s.Field)
	}
	if len(s.Elements) == 0 {
		return fmt.Errorf("the set of %s is empty", s.Field)
	}
	return nil
}

// MetBy looks the field up. A packet without an owner has no id: it matches neither a set
// of ids nor its negation.
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
