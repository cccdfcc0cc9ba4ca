// Package explain walks a packet through a ruleset as the kernel would, and says
// what happens to it, and why.
package explain

import "github.com/meshtables/meshtables/iptables"

// Verdict is what happens to a connection.
type Verdict string

// The verdicts.
const (
	Bypassed   Verdict = "bypassed"   // goes where it was sent
	Redirected Verdict = "redirected" // arrives at Port of this machine
	TProxied   Verdict = "tproxied"   // is handed to the socket on Port, with its addresses unchanged
	Dropped    Verdict = "dropped"
	Unknown    Verdict = "unknown" // cannot tell
)

// Result is the result of a walk.
type Result struct {
	Verdict Verdict
	// Port is where the proxy gets the connection; 0 if it does not.
	Port uint16
	// Mark and ConnMark are the marks afterwards.
	Mark, ConnMark uint32
	// Zone is the conntrack zone; 0 if no rule assigned one.
	Zone uint16
	// Path holds every rule that the packet matched, in order.
	Path []Step
}

// Step is a rule that the packet matched.
type Step struct {
	// Hook is the built-in chain by which the packet entered: what goes out via lo
	// meets the rules of OUTPUT, then those of PREROUTING.
	Hook string
	// Table is the name of the table, such as "nat"; see [installed.Table.Title].
	Table, Chain string
	// Position counts the rules of the chain from 1, as iptables
	// --line-numbers does. 0 is the chain's policy.
	Position int
	Rule     iptables.Rule
}
