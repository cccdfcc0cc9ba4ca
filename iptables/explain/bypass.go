package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

// Bypass is one way of a packet past the proxy.
type Bypass struct {
	Packet *iptables.Packet
	// Step is the rule that let the packet go. Where Decided is false no rule did:
	// none took it.
	Step    Step
	Decided bool

	rules *iptables.Ruleset
	own   iptables.Ownership
	path  []Step
}

func newBypass(path *installed.Path, p *iptables.Packet, steps []Step) *Bypass {
	b := &Bypass{Packet: p, rules: &path.Rules, own: path.Ownership, path: steps}
	b.Step, b.Decided = b.decider()
	return b
}

// Covered reports whether there are rules of ours for the packet's family.
func (b *Bypass) Covered() bool {
	t := b.rules.Table(b.Packet.Family(), iptables.Nat)
	return t != nil && slices.ContainsFunc(t.Chains, func(c iptables.Chain) bool { return b.own.Owns(c.Name) })
}

// decider returns the rule that let the packet go: the last one on its way that
// ended a chain in a table that captures. Without one, nothing matched.
func (b *Bypass) decider() (Step, bool) {
	var wentOn string // the table that is known to have gone on in its built-in chain
	for _, s := range slices.Backward(b.path) {
		if !b.mayCapture(s) {
			continue
		}
		// Where a chain of others ends, the one that jumped there goes on.
		ofOthers := s.Chain != s.Hook && !b.own.Owns(s.Chain)
		if b.endsChain(s) && !(ofOthers && s.Table == wentOn) {
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
func (b *Bypass) mayCapture(s Step) bool {
	return s.Hook == b.Packet.Hook && (s.Table == iptables.Nat || b.takesIn(s.Table, s.Hook))
}

// endsChain reports whether a rule lets the packet go past the rest of its chain. Where
// a built-in chain goes to one of others, nothing leads back.
func (b *Bypass) endsChain(s Step) bool {
	to, isGoto := s.Rule.Target.(iptables.Goto)
	return s.Rule.Target == iptables.Return || s.Rule.Target == iptables.Accept ||
		isGoto && s.Chain == s.Hook && !b.own.Owns(to.Chain)
}

// takesIn reports whether a table captures packets of a hook by TPROXY.
func (b *Bypass) takesIn(table, hook string) bool {
	t := b.rules.Table(b.Packet.Family(), table)
	return t != nil && hook == iptables.Prerouting && slices.ContainsFunc(t.Chains, func(c iptables.Chain) bool {
		return slices.ContainsFunc(c.Rules, func(r iptables.Rule) bool {
			_, ok := r.Target.(iptables.TProxy)
			return ok
		})
	})
}

// Given returns the items of an option that has rules in the packet's family, each
// once, in order.
func (b *Bypass) Given(option string) []string {
	var values []string
	for _, t := range b.rules.Tables {
		if t.Family != b.Packet.Family() {
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

// ReachesOwn reports whether the packet has come to rules of ours where it could have
// been captured.
func (b *Bypass) ReachesOwn() bool {
	return slices.ContainsFunc(b.path, func(s Step) bool {
		return b.mayCapture(s) && b.own.OwnsRule(s.Chain, s.Rule)
	})
}

// Unreached is about rules that are there and that the packet does not come to, be the
// jump to them gone or its chain.
func (b *Bypass) Unreached() Reason {
	return Final(fmt.Sprintf("nothing in %s leads it to the rules of meshtables", b.Packet.Hook), "apply again")
}

// Altered is about rules of an option that the packet came by and that do not do what
// they are there for.
func (b *Bypass) Altered(option string) Reason {
	o := iptables.Origin{Option: option, Value: strings.Join(b.Given(option), ",")}
	return Final(fmt.Sprintf("somebody has changed the rules of meshtables: those of %s would capture it", o), "apply again")
}

// Foreign is about a rule of others that let the packet go.
func (b *Bypass) Foreign() Reason {
	s := b.Step
	return Final(fmt.Sprintf("rule %d of %s %s, which is not of meshtables' making, comes first: %s", s.Position, s.Table, s.Chain, s.Rule),
		"remove that rule, or let its author exempt less")
}
