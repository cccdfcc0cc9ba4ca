package explain

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

// Reason is why a connection bypasses the proxy.
type Reason struct {
	// Why is what exempts it, such as "port 8080 is excluded by
	// --excluded-ports=8080".
	Why string `json:"why"`
	// Change is what would have to change for it to be captured; empty where
	// nothing can or should.
	Change string `json:"change,omitempty"`
	// Final says that no later reason matters.
	Final bool `json:"-"`
}

// Final returns a reason after which no other matters.
func Final(why, change string) Reason { return Reason{why, change, true} }

// Policy knows what the rules are for.
type Policy interface {
	// Reason says why a connection bypasses the proxy by rules of the policy, or for
	// lack of one.
	Reason(*Bypass) Reason
}

// maxReasons bounds how many exemptions are told. Who has more will ask again.
const maxReasons = 8

// Reasons returns why a packet that [Walk] let go bypasses the proxy: every
// exemption in its way, in order, for taking one of them away may leave the next.
// It relies on the origins of the rules; a rule without one is a foreign one.
func Reasons(path *installed.Path, p iptables.Packet, result Result, policy Policy) []Reason {
	var all []Reason
	for range maxReasons {
		if result.Verdict != Bypassed {
			break
		}
		b := newBypass(path, &p, result.Path)
		reason := b.reason(path.Faults, policy)
		if !slices.Contains(all, reason) {
			all = append(all, reason)
		}
		if reason.Final || !b.Decided {
			break
		}
		path = without(path, p.Family(), b.Step)
		var err error
		if result, err = WalkPath(path, p); err != nil {
			break
		}
	}
	return all
}

// reason says what is true of the rules of any policy, or asks the policy.
func (b *Bypass) reason(faults []installed.Fault, policy Policy) Reason {
	fault, disabled := installed.Disabling(faults)
	switch {
	case b.Packet.State != iptables.StateNew:
		return Final("it goes on as its connection began: nat decides about the first packet only (--ctstate=NEW)", "")
	case disabled:
		return Final(fault.Text, "apply again")
	}
	return policy.Reason(b)
}

// without returns a path less the rule of a step. The native form has "not from
// these" as "from these: go on there, and the rest is let go" (form.Native): what
// is not let go any more goes on there too.
func without(path *installed.Path, f iptables.Family, s Step) *installed.Path {
	less := *path
	less.Rules.Tables = slices.Clone(less.Rules.Tables)
	t := less.Rules.Table(f, s.Table)
	t.Chains = slices.Clone(t.Chains)
	c := t.Chain(s.Chain)
	c.Rules = slices.Clone(c.Rules)
	at := s.Position - 1
	if at > 0 && c.Rules[at-1].Origin == c.Rules[at].Origin {
		if exception, ok := c.Rules[at-1].Target.(iptables.Goto); ok {
			c.Rules[at] = iptables.Rule{Target: exception, Origin: c.Rules[at].Origin}
			return &less
		}
	}
	c.Rules = slices.Delete(c.Rules, at, at+1)
	return &less
}
