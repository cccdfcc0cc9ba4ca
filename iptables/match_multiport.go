package iptables

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Multiport is the match "multiport": up to [MaxMultiport] ports. A range counts as two.
type Multiport struct {
	Side  PortSide
	Not   bool
	Ports []PortRange
}

// PortSide is the port of a packet that [Multiport] looks at.
type PortSide string

// The options of the match "multiport".
const (
	SourcePorts      PortSide = "--sports"
	DestinationPorts PortSide = "--dports"
	EitherPorts      PortSide = "--ports"
)

func (m Multiport) appendSave(words []string) []string {
	var ports []byte
	for i, p := range m.Ports {
		if i > 0 {
			ports = append(ports, ',')
		}
		ports = p.appendText(ports)
	}
	words = appendNot(append(words, "-m", "multiport"), m.Not)
	return append(words, string(m.Side), string(ports))
}

func (m Multiport) validate(r *Rule) error {
	n := 0
	for _, p := range m.Ports {
		n++
		if p.First != p.Last {
			n++
		}
	}
	if n == 0 || n > MaxMultiport {
		return fmt.Errorf("the match multiport takes 1 to %d ports; a range counts as two", MaxMultiport)
	}
	if !r.isOfPorts() {
		return errors.New("the match multiport needs -p tcp or -p udp")
	}
	return nil
}

// MetBy looks the packet's ports up.
func (m Multiport) MetBy(p *Packet) (bool, error) {
	found := slices.ContainsFunc(m.Ports, func(r PortRange) bool {
		return m.Side != DestinationPorts && r.Contains(p.SourcePort) ||
			m.Side != SourcePorts && r.Contains(p.DestinationPort)
	})
	return found != m.Not, nil
}

// Values implements [FieldMatch]. [EitherPorts] is a condition on neither field alone.
func (m Multiport) Values(f SetField) (values []Interval, not, ok bool) {
	if f != map[PortSide]SetField{SourcePorts: SourcePort, DestinationPorts: DestinationPort}[m.Side] {
		return nil, false, false
	}
	for _, r := range m.Ports {
		values = append(values, PortInterval(r))
	}
	return values, m.Not, true
}

func parseMultiport(args []arg) Match {
	if len(args) != 1 {
		return nil
	}
	m := Multiport{Side: PortSide(args[0].name), Not: args[0].not}
	if m.Side != SourcePorts && m.Side != DestinationPorts && m.Side != EitherPorts {
		return nil
	}
	for s := range strings.SplitSeq(args[0].value, ",") {
		ports, err := ParsePortRange(s)
		if err != nil {
			return nil
		}
		m.Ports = append(m.Ports, ports)
	}
	return m
}
