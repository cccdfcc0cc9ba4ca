package explain

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

// Reason is why a connection bypasses the proxy.
type Reason struct {
	// Why says what exempts it, such as "port 8080 is excluded by
	// --excluded-ports=8080".
	Why string `json:"why"`
	// Change says what to change so that it is captured; empty if nothing can or
	// should be changed.
	Change string `json:"change,omitempty"`
	// Final says that no later reason matters.
	Final bool `json:"-"`
}

// Final returns a reason after which no other reason matters.
func Final(why, change string) Reason { return Reason{why, change, true} }

// Policy knows what the rules are for.
type Policy interface {
	// Reason says which of the policy's rules makes a connection bypass the proxy, or
	// which is missing.
	Reason(*Bypass) Reason
}

// maxReasons bounds how many reasons an answer has. If there are more, the user can ask
// again.
const maxReasons = 8

// Reasons returns why a packet bypasses the proxy, by the result of [WalkPath]: every
// exemption on its way, in rule order. Without the first, the next may decide. Reasons
// relies on the origins of the rules; a rule without one is foreign.
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

// reason returns a reason that any policy has, or asks the policy.
func (b *Bypass) reason(faults []installed.Fault, policy Policy) Reason {
	fault, disabled := installed.Disabling(faults)
	switch {
	case b.Packet.State != iptables.StateNew:
		return Final("it is not the first packet of a connection, and nat sees no others (--ctstate=NEW)", "")
	case disabled:
		return Final(fault.Text, "apply again")
	}
	return policy.Reason(b)
}

// without returns a path without the rule of a step. The native form writes "not from
// these" as two rules: "from these: go on there" and "the rest: return" (form.Native).
// Without the second, the rest goes on there too.
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
