package iptables

import (
	"net/netip"
	"strings"
)

// Rule is one rule of a chain. The zero values of its fields match everything;
// a packet has to meet all of them, then the Matches in order.
type Rule struct {
	Source, Destination Address
	In, Out             Interface
	Protocol            ProtocolMatch
	Matches             []Match
	// Target is nil for a rule that only counts.
	Target Target

	// Origin tells which option the rule comes from. Only a comment of the rule
	// tells the kernel, so a rule that was read back may have none.
	Origin Origin
	// Shared says that it is one rule of the native form of nf_tables for both families,
	// so that its counters are about packets of both.
	Shared bool
	// Reason says in a few words why the option makes the rule, where a reader of the
	// rules would ask. Only comments of the native form tell it.
	Reason   string
	Counters Counters
}

// Address matches the source or destination of a packet. The zero value
// matches every address, and so does any prefix of length 0, which iptables
// does not even store; [MatchAddress] makes the one into the other.
type Address struct {
	Prefix netip.Prefix
	Not    bool
}

// MatchAddress returns the match for a prefix, with its host bits cleared.
func MatchAddress(p netip.Prefix) Address {
	if p.Bits() <= 0 {
		return Address{}
	}
	return Address{Prefix: p.Masked()}
}

// NotAddress returns the match for every address outside a prefix.
func NotAddress(p netip.Prefix) Address {
	return Address{Prefix: p.Masked(), Not: true}
}

// MetBy reports whether the match is met by an address.
func (a Address) MetBy(addr netip.Addr) bool {
	return a == Address{} || a.Prefix.Contains(addr) != a.Not
}

// Interface matches the name of the interface that a packet came in by or goes
// out by. A trailing "+" in the name stands for any rest. The zero value matches
// any interface, and so does "+", which iptables does not even store;
// [MatchInterface] makes the one into the other.
type Interface struct {
	Name string
	Not  bool
}

// MatchInterface returns the match for a name, which may end in "+".
func MatchInterface(name string) Interface {
	if name == "+" {
		return Interface{}
	}
	return Interface{Name: name}
}

// MetBy reports whether the match is met by an interface's name, which is empty where
// there is none.
func (i Interface) MetBy(name string) bool {
	if i == (Interface{}) {
		return true
	}
	if prefix, wildcard := strings.CutSuffix(i.Name, "+"); wildcard {
		return strings.HasPrefix(name, prefix) != i.Not
	}
	return (i.Name == name) != i.Not
}

// Protocol is a transport protocol by the name that iptables-save prints:
// "tcp", "udp", "icmp", or a number where it knows no name.
type Protocol string

// The protocols that meshtables itself uses.
const (
	TCP Protocol = "tcp"
	UDP Protocol = "udp"
)

// ProtocolMatch matches the transport protocol of a packet. The zero value
// matches any.
type ProtocolMatch struct {
	Protocol Protocol
	Not      bool
}

// MetBy reports whether the match is met by a protocol.
func (m ProtocolMatch) MetBy(p Protocol) bool {
	return m == ProtocolMatch{} || (m.Protocol == p) != m.Not
}

// JumpsTo returns the chain that a rule jumps or goes to.
func (r Rule) JumpsTo() (chain string, ok bool) {
	switch t := r.Target.(type) {
	case Jump:
		return t.Chain, true
	case Goto:
		return t.Chain, true
	}
	return "", false
}

// MatchesOf returns those matches of a rule that are of one type.
func MatchesOf[T Match](r Rule) []T {
	var all []T
	for _, m := range r.Matches {
		if m, ok := m.(T); ok {
			all = append(all, m)
		}
	}
	return all
}

// Equal reports whether two rules match the same packets in the same words and
// do the same to them: whether iptables-save prints the same line for both.
// Counters, origins and reasons do not matter.
func (r Rule) Equal(s Rule) bool { return r.String() == s.String() }
