// Package explain walks a packet through the rules as the kernel would, and says what
// happens to it, and why.
package explain

import (
	"fmt"
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

// Verdict is what happens to a connection.
type Verdict string

// The verdicts.
const (
	Bypassed   Verdict = "bypassed"   // goes where it was sent
	Redirected Verdict = "redirected" // arrives at Port of this machine, by a rule of ours
	TProxied   Verdict = "tproxied"   // is handed to the socket on Port by a rule of ours, with its addresses unchanged
	Taken      Verdict = "taken"      // a foreign rule sends it elsewhere
	Dropped    Verdict = "dropped"
	Unknown    Verdict = "unknown" // cannot tell
)

// IsCaptured reports whether our rules give the connection to the proxy.
func (v Verdict) IsCaptured() bool { return v == Redirected || v == TProxied }

// Result is the result of a walk.
type Result struct {
	Verdict Verdict
	// Port is the port of this machine that the packet arrives at by a rule's doing: the
	// proxy's or, if it is [Taken], another. It is 0 if there is none.
	Port uint16
	// Source is the source address that a rule of ours gives the packet; the zero value if
	// none does.
	Source netip.Addr
	// Mark and ConnMark are the marks afterwards.
	Mark, ConnMark uint32
	// Zone is the conntrack zone; 0 if no rule assigned one.
	Zone uint16
	// Path holds every rule that the packet matched, in order.
	Path []Step
	// By is the step that decided the verdict. There is none if the packet goes where it
	// was sent, unless a rule kept it from connection tracking: then nat does not see it.
	By *Step
	// Untracked says that a rule kept the packet from connection tracking.
	Untracked bool
	// Doubt is why the verdict is [Unknown], in words such as "it depends on -m statistic
	// --mode random".
	Doubt string
	// Chance says that the verdict is [Unknown] because chance decides. Then each of
	// Outcomes is right for some packets.
	Chance bool
	// Outcomes are the possible results if the verdict is [Unknown] because of doubtful
	// matches.
	Outcomes []Result
}

// endsAs reports whether the same happens to the connection in another result.
func (r Result) endsAs(other Result) bool {
	return r.Verdict == other.Verdict && r.Port == other.Port && r.Source == other.Source
}

// IsOurs reports whether rules of ours do something to the connection: they capture it, or give
// it another source address.
func (r Result) IsOurs() bool { return r.Verdict.IsCaptured() || r.Source.IsValid() }

// Step is a rule that the packet matched.
type Step struct {
	// Hook is the built-in chain by which the packet entered: what goes out via lo
	// meets the rules of OUTPUT, then those of PREROUTING.
	Hook string
	// Table is the table's title on the path, such as "nat"; see [installed.Titled].
	Table, Chain string
	// Form is the form that the table is in, Name its name there.
	Form installed.Form
	Name string
	// Position counts the rules of the chain from 1, as iptables
	// --line-numbers does. 0 is the chain's policy.
	Position int
	Rule     iptables.Rule
	// Foreign says that the rule is not ours.
	Foreign bool
	// Doubtful says that the rule may come after ours instead; see [installed.Met].
	Doubtful bool
}

// Place returns text such as "rule 1 of nat OUTPUT" or "policy DROP of filter INPUT".
func (s Step) Place() string {
	if s.Position == 0 {
		return fmt.Sprintf("policy DROP of %s %s", s.Table, s.Chain)
	}
	return fmt.Sprintf("rule %d of %s %s", s.Position, s.Table, s.Chain)
}

// String returns Place and the rule, such as "rule 1 of nat OUTPUT: -p tcp -j ACCEPT".
func (s Step) String() string {
	if s.Position == 0 {
		return s.Place()
	}
	return s.Place() + ": " + iptables.Brief(s.Rule.String())
}

// is reports whether two steps are the same rule.
func (s Step) is(other Step) bool {
	return s.Table == other.Table && s.Chain == other.Chain && s.Position == other.Position
}
