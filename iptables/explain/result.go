// Package explain walks a packet through a ruleset as the kernel would, and
// tells what becomes of it and why.
package explain

import "github.com/meshtables/meshtables/iptables"

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
