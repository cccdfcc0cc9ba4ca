package iptables

import (
	"fmt"
	"strconv"
	"strings"
)

// Match is an extension match ("-m"). The implementations are the types of
// this file; a type switch over them is complete if it also has a default that
// fails.
type Match interface {
	// appendSave adds the match as iptables-save prints it, "-m" included.
	appendSave(words []string) []string
}

// PortRange is an inclusive range of TCP or UDP ports.
type PortRange struct {
	First, Last uint16
}

// Port returns the range of one port.
func Port(p uint16) PortRange { return PortRange{p, p} }

// Contains reports whether the port lies in the range.
func (r PortRange) Contains(port uint16) bool { return r.First <= port && port <= r.Last }

// String returns "80", or "8000:8010" for a range of several ports.
func (r PortRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(int(r.First))
	}
	return fmt.Sprintf("%d:%d", r.First, r.Last)
}

// ParsePortRange reads "80", "8000-8010" or "8000:8010".
func ParsePortRange(s string) (PortRange, error) {
	first, last, isRange := strings.Cut(s, ":")
	if !isRange {
		first, last, isRange = strings.Cut(s, "-")
	}
	if !isRange {
		last = first
	}
	a, err1 := strconv.ParseUint(first, 10, 16)
	b, err2 := strconv.ParseUint(last, 10, 16)
	if err1 != nil || err2 != nil || a > b {
		return PortRange{}, fmt.Errorf("%q is not a port or a range of ports", s)
	}
	return PortRange{uint16(a), uint16(b)}, nil
}

// Ports is the match "tcp" or "udp": source and destination port of a packet
// of that protocol. The rule has to match the protocol too.
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

// Multiport is the match "multiport": up to [MaxMultiport] ports, where a range
// counts for two.
type Multiport struct {
	Side  PortSide
	Not   bool
	Ports []PortRange
}

// PortSide tells which port of a packet [Multiport] looks at.
type PortSide string

// The options of the match "multiport".
const (
	SourcePorts      PortSide = "--sports"
	DestinationPorts PortSide = "--dports"
	EitherPorts      PortSide = "--ports"
)

func (m Multiport) appendSave(words []string) []string {
	ports := make([]string, len(m.Ports))
	for i, p := range m.Ports {
		ports[i] = p.String()
	}
	words = appendNot(append(words, "-m", "multiport"), m.Not)
	return append(words, string(m.Side), strings.Join(ports, ","))
}

// Owner is the match "owner": the user and group of the socket that a locally
// made packet comes from. A packet without a socket, such as a reset that the
// kernel sends, matches negations only (net/netfilter/xt_owner.c).
type Owner struct {
	UID, GID IDMatch
}

// IDMatch is an inclusive range of user or group ids. Without Set it matches
// every id.
type IDMatch struct {
	First, Last uint32
	Not         bool
	Set         bool
}

// ID returns the match for one id.
func ID(id uint32) IDMatch { return IDMatch{First: id, Last: id, Set: true} }

// NotID returns the match for every other id.
func NotID(id uint32) IDMatch { return IDMatch{First: id, Last: id, Not: true, Set: true} }

func (m Owner) appendSave(words []string) []string {
	words = append(words, "-m", "owner")
	words = m.UID.appendSave(words, "--uid-owner")
	return m.GID.appendSave(words, "--gid-owner")
}

func (m IDMatch) appendSave(words []string, option string) []string {
	if !m.Set {
		return words
	}
	ids := strconv.FormatUint(uint64(m.First), 10)
	if m.First != m.Last {
		ids += "-" + strconv.FormatUint(uint64(m.Last), 10)
	}
	return append(appendNot(words, m.Not), option, ids)
}

// CTState is a set of states of the match "conntrack".
type CTState uint8

// The states of a packet's connection, in the order in which iptables-save
// prints them.
const (
	StateInvalid CTState = 1 << iota
	StateNew
	StateRelated
	StateEstablished
	StateUntracked
)

var stateNames = [...]string{"INVALID", "NEW", "RELATED", "ESTABLISHED", "UNTRACKED"}

// String returns the states separated by commas.
func (s CTState) String() string {
	var names []string
	for i, name := range stateNames {
		if s&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// Conntrack is the match "conntrack" with --ctstate.
type Conntrack struct {
	States CTState
	Not    bool
}

func (m Conntrack) appendSave(words []string) []string {
	return append(appendNot(append(words, "-m", "conntrack"), m.Not), "--ctstate", m.States.String())
}

// Mark is the match "mark": the packet's mark, of which only the bits of Mask
// are compared with Value.
type Mark struct {
	Value, Mask uint32
	Not         bool
}

func (m Mark) appendSave(words []string) []string {
	return append(appendNot(append(words, "-m", "mark"), m.Not), "--mark", maskedMark(m.Value, m.Mask))
}

// Connmark is the match "connmark": as [Mark], of the packet's connection.
type Connmark struct {
	Value, Mask uint32
	Not         bool
}

func (m Connmark) appendSave(words []string) []string {
	return append(appendNot(append(words, "-m", "connmark"), m.Not), "--mark", maskedMark(m.Value, m.Mask))
}

// FullMask compares or sets all bits of a mark.
const FullMask = 0xffffffff

func maskedMark(value, mask uint32) string {
	if mask == FullMask {
		return fmt.Sprintf("%#x", value)
	}
	return fmt.Sprintf("%#x/%#x", value, mask)
}

// UnknownMatch is a match that this package has no type for. It appears only in
// rules that were read, or are about to be written. Of text, see [ParseSave], the words
// are kept as they stood, quotes included, so that they can be printed again.
type UnknownMatch struct {
	// Name is what follows "-m"; it is empty for an option of the rule itself.
	Name string
	Args []string
}

func (m UnknownMatch) appendSave(words []string) []string {
	if m.Name != "" {
		words = append(words, "-m", m.Name)
	}
	return append(words, m.Args...)
}

func appendNot(words []string, not bool) []string {
	if not {
		words = append(words, "!")
	}
	return words
}
