package iptables

import (
	"net/netip"
	"slices"
	"strings"
)

// Rule is one rule of a chain. The zero values of its fields match everything. A packet
// has to match all of them, then the Matches in order.
type Rule struct {
	Source, Destination Address
	In, Out             Interface
	Protocol            ProtocolMatch
	Matches             []Match
	// Target is nil for a rule that only counts.
	Target Target

	// Origin is the option that makes the rule. The kernel has it only as a comment, so a
	// rule that was read back may have none.
	Origin Origin
	// Shared says that it is one rule of nf_tables' native form for both families. Its
	// counters count packets of both.
	Shared bool
	// Reason says in a few words why the option makes the rule, where a reader would ask.
	// Only comments of the native form have it.
	Reason string
	// First says that a jump of ours goes before the foreign rules of its chain, not after
	// them. A rule that was read back does not have it.
	First    bool
	Counters Counters
}

// Address matches the source or destination of a packet. The zero value matches every
// address. So does a prefix of length 0, which iptables does not store; [MatchAddress]
// makes it the zero value.
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

// MetBy reports whether an address matches.
func (a Address) MetBy(addr netip.Addr) bool {
	return a == Address{} || a.Prefix.Contains(addr) != a.Not
}

// Interface matches the name of the interface that a packet came in by or leaves by. "+"
// at the end of the name stands for any rest. The zero value matches every interface. So
// does "+", which iptables does not store; [MatchInterface] makes it the zero value.
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

// MetBy reports whether an interface's name matches. The name is empty if there is no
// interface.
func (i Interface) MetBy(name string) bool {
	if i == (Interface{}) {
		return true
	}
	if prefix, wildcard := strings.CutSuffix(i.Name, "+"); wildcard {
		return strings.HasPrefix(name, prefix) != i.Not
	}
	return (i.Name == name) != i.Not
}

// Protocol is a transport protocol as iptables-save prints it: "tcp", "udp", "icmp", or a
// number if it knows no name.
type Protocol string

// The protocols that meshtables uses.
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

// MetBy reports whether a protocol matches.
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

// MatchesOf returns the matches of one type in a rule.
func MatchesOf[T Match](r Rule) []T {
	var all []T
	for _, m := range r.Matches {
		if m, ok := m.(T); ok {
			all = append(all, m)
		}
	}
	return all
}

// Equal reports whether iptables-save prints the same line for both rules. Counters,
// origins and reasons do not matter.
func (r Rule) Equal(s Rule) bool { return r.isSame(&s) || r.String() == s.String() }

// isSame reports whether both rules have the same conditions and target, so that they are
// equal. Rules can be equal without it. Comparing the text of thousands of rules takes
// longer than reading them.
func (r *Rule) isSame(s *Rule) bool {
	return r.Source == s.Source && r.Destination == s.Destination && r.In == s.In && r.Out == s.Out && r.Protocol == s.Protocol &&
		slices.EqualFunc(r.Matches, s.Matches, func(m, n Match) bool { return isSame(m, n) }) && isSame(r.Target, s.Target)
}

// isSame reports whether two matches or targets of the usual types are the same.
func isSame(a, b any) bool {
	switch a := a.(type) {
	case Multiport:
		b, ok := b.(Multiport)
		return ok && a.Side == b.Side && a.Not == b.Not && slices.Equal(a.Ports, b.Ports)
	case Set:
		b, ok := b.(Set)
		return ok && a.Field == b.Field && a.Not == b.Not && slices.Equal(a.Elements, b.Elements)
	case nil, Ports, Owner, Conntrack, Mark, Comment, Verdict, Jump, Goto, Redirect, TProxy:
		return a == b
	}
	return false
}
