package explain

import (
	"fmt"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

// Reason is why a connection does not go to the proxy, or not as our rules alone would have
// it.
type Reason struct {
	// Why says what exempts it, such as "port 8080 is excluded by
	// --excluded-ports=8080".
	Why string `json:"why"`
	// Change says what to change so that it is captured; empty if nothing can or
	// should be changed.
	Change string `json:"change,omitempty"`
	// Final says that no later reason matters.
	Final bool `json:"-"`
	// Effect is what foreign rules do, if they are the reason.
	Effect Effect `json:"-"`
}

// Final returns a reason after which no other reason matters.
func Final(why, change string) Reason { return Reason{Why: why, Change: change, Final: true} }

// Policy knows what the rules are for.
type Policy interface {
	// Reason says which of the policy's rules makes a connection bypass the proxy, or
	// which is missing.
	Reason(*Bypass) Reason
}

// Question is a packet, and what is known about its way.
type Question struct {
	// Path has our rules with origins. A rule of ours without one is not planned.
	Path   *installed.Path
	Packet iptables.Packet
	// Result is that of [WalkPath].
	Result Result
	Policy Policy
	// Intended are the rules as they should be; nil for rules that are only planned.
	Intended *Intended
	Proxy    Proxy
}

// Reasons returns why a packet does not get to the proxy, or why it does although our rules
// should do something else: foreign rules first, then damage, then every exemption on its
// way, in rule order.
func Reasons(q Question) []Reason {
	alone := WalkPath(q.Path.OnlyOwn(), q.Packet)
	if i := Interfere(q.Path, q.Packet, alone, q.Result, q.Proxy); i != nil {
		return []Reason{q.foreign(i)}
	}
	path, result := q.Path, q.Result
	if fault, disabled := installed.Disabling(path.Faults); disabled && result.Verdict == Bypassed {
		return []Reason{Final(fault.Text, "apply again")}
	}
	if q.Intended.IsDamaged() {
		meant := installed.Alone(q.Intended.Rules, path.Ownership)
		intended := WalkPath(meant, q.Packet)
		unlike := !isLike(result, intended) || q.losesAnswer()
		if unlike || q.Intended.Guessed && result.Verdict == Bypassed {
			return []Reason{q.Intended.damage(q.Packet, result, intended)}
		}
		path = meant
	}
	return exemptions(path.OnlyOwn(), q.Packet, q.Policy)
}

// losesAnswer reports whether our rules themselves keep the proxy's answer from nat.
func (q *Question) losesAnswer() bool {
	if !q.Result.Verdict.IsCaptured() {
		return false
	}
	answer := Answer(q.Path, q.Packet, q.Result, q.Proxy)
	_, strays := strayZone(q.Result, answer)
	// TPROXY drops answers to a socket that is not transparent, as the application's is
	// (tproxy_tg4 in net/netfilter/xt_TPROXY.c).
	return strays || answer.Verdict == Dropped || answer.Verdict == TProxied
}

// foreign is the reason if foreign rules make the difference.
func (q *Question) foreign(i *Interference) Reason {
	r := Reason{Why: i.sentence(), Change: "apply again", Final: true, Effect: i.Effect}
	if i.Effect == Unclear {
		r.Change = ""
	} else if command := i.Mend(q.Path, q.Packet.Family()); command != "" {
		r.Change = fmt.Sprintf("take it away (%s), or have its author exempt less", command)
	}
	return r
}

// maxReasons bounds how many reasons an answer has. If there are more, the user can ask
// again.
const maxReasons = 8

// exemptions returns every exemption on the way of a packet. Without the first, the next may
// decide.
func exemptions(path *installed.Path, p iptables.Packet, policy Policy) []Reason {
	var all []Reason
	result := WalkPath(path, p)
	for range maxReasons {
		if result.Verdict != Bypassed {
			break
		}
		b := newBypass(path, &p, result.Path)
		reason := b.reason(policy)
		if !slices.Contains(all, reason) {
			all = append(all, reason)
		}
		if reason.Final || !b.Decided {
			break
		}
		path = without(path, p.Family(), b.Step)
		result = WalkPath(path, p)
	}
	return all
}

// reason returns a reason that any policy has, or asks the policy.
func (b *Bypass) reason(policy Policy) Reason {
	if b.Packet.State != iptables.StateNew {
		return Final("it is not the first packet of a connection, and nat sees no others (--ctstate=NEW)", "")
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
