package iptables

import "fmt"

// Ports is the match "tcp" or "udp": the source and destination port. The rule has to
// match the protocol too.
type Ports struct {
	Protocol            Protocol
	Source, Destination PortMatch
}

// PortMatch is one side of [Ports]. Without Set it matches every port.
type PortMatch struct {
	Range PortRange
	Not   bool
	Set   bool
}

func (m Ports) appendSave(words []string) []string {
	words = append(words, "-m", string(m.Protocol))
	words = m.Source.appendSave(words, "--sport")
	return m.Destination.appendSave(words, "--dport")
}

func (p PortMatch) appendSave(words []string, option string) []string {
	if !p.Set {
		return words
	}
	return append(appendNot(words, p.Not), option, p.Range.String())
}

func (m Ports) validate(r *Rule) error {
	if r.Protocol != (ProtocolMatch{Protocol: m.Protocol}) {
		return fmt.Errorf("the match %s needs -p %s", m.Protocol, m.Protocol)
	}
	return nil
}

// MetBy compares protocol and ports.
func (m Ports) MetBy(p *Packet) (bool, error) {
	return p.Protocol == m.Protocol && m.Source.metBy(p.SourcePort) && m.Destination.metBy(p.DestinationPort), nil
}

func (p PortMatch) metBy(port uint16) bool { return !p.Set || p.Range.Contains(port) != p.Not }

// Values implements [FieldMatch].
func (m Ports) Values(f SetField) (values []Interval, not, ok bool) {
	switch f {
	case SourcePort:
		return m.Source.values()
	case DestinationPort:
		return m.Destination.values()
	}
	return nil, false, false
}

func (p PortMatch) values() (values []Interval, not, ok bool) {
	if !p.Set {
		return nil, false, false
	}
	return []Interval{PortInterval(p.Range)}, p.Not, true
}

func parsePorts(protocol Protocol, args []arg) Match {
	m := Ports{Protocol: protocol}
	for _, a := range args {
		ports, err := ParsePortRange(a.value)
		if err != nil {
			return nil
		}
		p := PortMatch{Range: ports, Not: a.not, Set: true}
		switch a.name {
		case "--sport":
			m.Source = p
		case "--dport":
			m.Destination = p
		default:
			return nil
		}
	}
	return m
}
