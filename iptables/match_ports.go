package iptables

import (
	"errors"
	"fmt"
)

// Ports is the match "tcp" or "udp": the source and destination port, and flags of TCP.
// The rule has to match the protocol too.
type Ports struct {
	Protocol            Protocol
	Source, Destination PortMatch
	Flags               TCPFlags
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
	words = m.Destination.appendSave(words, "--dport")
	return m.Flags.appendSave(words)
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
	if m.Flags != (TCPFlags{}) && m.Protocol != TCP {
		return errors.New("only tcp has flags")
	}
	return nil
}

// MetBy compares protocol, ports and flags.
func (m Ports) MetBy(p *Packet) (bool, error) {
	if p.Protocol != m.Protocol || !m.Source.metBy(p.SourcePort) || !m.Destination.metBy(p.DestinationPort) {
		return false, nil
	}
	return m.Flags.metBy(p)
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

// parsePorts reads the arguments of "-m tcp" and "-m udp".
func parsePorts(protocol Protocol, words []string) Match {
	m := Ports{Protocol: protocol}
	rest, flags, ok := parseTCPFlags(words)
	args, isOptions := splitArgs(rest)
	if !ok || !isOptions || flags != (TCPFlags{}) && protocol != TCP {
		return nil
	}
	m.Flags = flags
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
