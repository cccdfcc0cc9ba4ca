// Package explain walks a packet through a ruleset as the kernel would, and
// tells what becomes of it and why.
package explain

import (
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
)

// Packet is what the rules can see of a packet.
type Packet struct {
	// Hook is the built-in chain that it enters by: PREROUTING for a packet
	// that came in, OUTPUT for one that the machine itself sends.
	Hook string

	Protocol                    iptables.Protocol
	Source, Destination         netip.Addr
	SourcePort, DestinationPort uint16
	// In is the interface that it came in by, Out the one that it goes out
	// by; the other one is empty.
	In, Out string

	// Owner is nil for a packet that no socket of this machine sends.
	Owner *Owner

	Mark uint32
	// ConnMark is the mark of its connection, State the state of it.
	ConnMark uint32
	State    iptables.CTState
}

// Owner is who made the socket that a packet comes from.
type Owner struct {
	UID, GID uint32
}

// Family is the family of its addresses.
func (p *Packet) Family() iptables.Family { return iptables.FamilyOf(p.Destination) }

// Verdict is what becomes of a connection.
type Verdict string

// The verdicts.
const (
	Bypassed   Verdict = "bypassed"   // goes where it was sent
	Redirected Verdict = "redirected" // arrives at Port of this machine
	TProxied   Verdict = "tproxied"   // is handed to the socket on Port, its addresses as they were
	Dropped    Verdict = "dropped"
	Unknown    Verdict = "unknown" // cannot be told
)

// Result is what a walk came to.
type Result struct {
	Verdict Verdict
	// Port is where the proxy gets the connection; 0 where it does not.
	Port uint16
	// Mark and ConnMark are the marks afterwards.
	Mark, ConnMark uint32
	// Zone is the conntrack zone; 0 is the one of packets that no rule
	// assigned to another.
	Zone uint16
	// Path holds every rule that the packet met, in order.
	Path []Step
}

// Step is a rule that the packet met.
type Step struct {
	// Hook is the built-in chain that the packet had entered by: what goes out
	// by lo meets rules of OUTPUT, then of PREROUTING.
	Hook string
	// Table is the name of the table, such as "nat"; see [installed.Table.Title].
	Table, Chain string
	// Position counts the rules of the chain from 1, as iptables
	// --line-numbers does. 0 is the chain's policy.
	Position int
	Rule     iptables.Rule
}
