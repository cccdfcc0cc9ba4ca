package explain

import (
	"fmt"
	"slices"
	"strings"

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

	// final says that no later reason matters.
	final bool
}

// maxReasons bounds how many exemptions are told. Who has more will ask again.
const maxReasons = 8

// Reasons returns why a packet that [Walk] let go bypasses the proxy: every
// exemption in its way, in order, for taking one of them away may leave the next.
// It relies on the origins of the rules; a rule without one is a foreign one.
func Reasons(path *installed.Path, p iptables.Packet, result Result) []Reason {
	var all []Reason
	for range maxReasons {
		if result.Verdict != Bypassed {
			break
		}
		q := inquiry{rules: &path.Rules, faults: path.Faults, packet: &p, path: result.Path}
		step, decided := q.decider()
		reason := q.reason(step, decided)
		if !slices.Contains(all, reason) {
			all = append(all, reason)
		}
		if reason.final || !decided {
			break
		}
		path = without(path, p.Family(), step)
		var err error
		if result, err = WalkPath(path, p); err != nil {
			break
		}
	}
	return all
}

// inquiry is about one bypass.
type inquiry struct {
	rules  *iptables.Ruleset
	faults []installed.Fault
	packet *iptables.Packet
	path   []Step
}

func (q *inquiry) reason(step Step, decided bool) Reason {
	fault, disabled := installed.Disabling(q.faults)
	switch {
	case q.packet.State != iptables.StateNew:
		return final("it goes on as its connection began: nat decides about the first packet only (--ctstate=NEW)", "")
	case disabled:
		return final(fault.Text, "apply again")
	case !q.covered():
		return q.withoutRules()
	case q.neverCaptured():
		return final(fmt.Sprintf("the proxy takes tcp, and of udp only outbound DNS (port %d)", dnsPort), "")
	case decided:
		return q.exempt(step)
	case q.isWanted() && !q.reachesOwn():
		return q.unreached()
	case q.packet.Hook == iptables.Prerouting:
		return q.notInbound()
	case q.packet.Protocol == iptables.UDP:
		return q.notDNS()
	default:
		return q.notOutbound()
	}
}

const dnsPort = 53 // RFC 1035, section 4.2

func final(why, change string) Reason { return Reason{why, change, true} }

func (q *inquiry) covered() bool {
	t := q.rules.Table(q.packet.Family(), iptables.Nat)
	return t != nil && slices.ContainsFunc(t.Chains, func(c iptables.Chain) bool { return iptables.IsOwn(c.Name) })
}

func (q *inquiry) withoutRules() Reason {
	why := fmt.Sprintf("there are no rules of meshtables for %s", q.packet.Family())
	if q.packet.Family() == iptables.IPv6 {
		return Reason{Why: why, Change: "apply them with --ipv6=on"}
	}
	return Reason{Why: why, Change: "apply them"}
}

func (q *inquiry) neverCaptured() bool {
	p := q.packet
	dns := p.Protocol == iptables.UDP && p.Hook == iptables.Output && p.DestinationPort == dnsPort
	return p.Protocol != iptables.TCP && !dns
}

// decider returns the rule that let the packet go: the last one on its way that
// ended a chain in a table that captures. Without one, nothing matched.
func (q *inquiry) decider() (Step, bool) {
	var wentOn string // the table that is known to have gone on in its built-in chain
	for _, s := range slices.Backward(q.path) {
		if !q.mayCapture(s) {
			continue
		}
		// Where a chain of others ends, the one that jumped there goes on.
		ofOthers := s.Chain != s.Hook && !iptables.IsOwn(s.Chain)
		if endsChain(s) && !(ofOthers && s.Table == wentOn) {
			return s, true
		}
		if s.Chain == s.Hook {
			wentOn = s.Table
		}
	}
	return Step{}, false
}

// mayCapture reports whether a step is one through a table that captures, on the way
// that was asked about.
func (q *inquiry) mayCapture(s Step) bool {
	return s.Hook == q.packet.Hook && (s.Table == iptables.Nat || q.takesIn(s.Table, s.Hook))
}

// endsChain reports whether a rule lets the packet go past the rest of its chain. Where
// a built-in chain goes to one of others, nothing leads back.
func endsChain(s Step) bool {
	to, isGoto := s.Rule.Target.(iptables.Goto)
	return s.Rule.Target == iptables.Return || s.Rule.Target == iptables.Accept ||
		isGoto && s.Chain == s.Hook && !iptables.IsOwn(to.Chain)
}

// takesIn reports whether a table captures packets of a hook by TPROXY.
func (q *inquiry) takesIn(table, hook string) bool {
	t := q.rules.Table(q.packet.Family(), table)
	return t != nil && hook == iptables.Prerouting && slices.ContainsFunc(t.Chains, func(c iptables.Chain) bool {
		return slices.ContainsFunc(c.Rules, func(r iptables.Rule) bool {
			_, ok := r.Target.(iptables.TProxy)
			return ok
		})
	})
}

// given returns the items of an option that has rules in the packet's family, each
// once, in order.
func (q *inquiry) given(option string) []string {
	var values []string
	for _, t := range q.rules.Tables {
		if t.Family != q.packet.Family() {
			continue
		}
		for _, c := range t.Chains {
			for _, r := range c.Rules {
				if r.Origin.Option != option {
					continue
				}
				for value := range strings.SplitSeq(r.Origin.Value, ",") {
					if !slices.Contains(values, value) {
						values = append(values, value)
					}
				}
			}
		}
	}
	return values
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
