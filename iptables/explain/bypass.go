package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

// Bypass is one way that a packet takes past the proxy.
type Bypass struct {
	Packet *iptables.Packet
	// Step is the rule that exempts the packet. If Decided is false, no rule exempts
	// it: none captures it.
	Step    Step
	Decided bool
	// Path has the rules that matched the packet, in order.
	Path []Step

	rules *iptables.Ruleset
	own   iptables.Ownership
}

func newBypass(path *installed.Path, p *iptables.Packet, steps []Step) *Bypass {
	b := &Bypass{Packet: p, Path: steps, rules: &path.Rules, own: path.Ownership}
	b.Step, b.Decided = b.decider()
	return b
}

// Covered reports whether there are rules of ours for the packet's family.
func (b *Bypass) Covered() bool {
	t := b.rules.Table(b.Packet.Family(), iptables.Nat)
	return t != nil && slices.ContainsFunc(t.Chains, func(c iptables.Chain) bool { return b.own.Owns(c.Name) })
}

// decider returns the rule that exempts the packet: the last one on its way that ended a
// chain in a table that captures. If there is none, nothing matched.
func (b *Bypass) decider() (Step, bool) {
	for _, s := range slices.Backward(b.Path) {
		if b.mayCapture(s) && (s.Rule.Target == iptables.Return || s.Rule.Target == iptables.Accept) {
			return s, true
		}
	}
	return Step{}, false
}

// mayCapture reports whether a step is in a table that captures, at the hook of the
// packet in question.
func (b *Bypass) mayCapture(s Step) bool {
	return s.Hook == b.Packet.Hook && (s.Table == iptables.Nat || b.takesIn(s.Table, s.Hook))
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

// Given returns the items of an option, as the rules of the packet's family have them,
// each once, in rule order.
func (b *Bypass) Given(option string) []string {
	var values []string
	for _, r := range b.RulesOf(option) {
		for value := range strings.SplitSeq(r.Origin.Value, ",") {
			if !slices.Contains(values, value) {
				values = append(values, value)
			}
		}
	}
	return values
}

// RulesOf returns the rules of an option for the packet's family, in rule order.
func (b *Bypass) RulesOf(option string) []iptables.Rule {
	var rules []iptables.Rule
	for _, t := range b.rules.Tables {
		if t.Family != b.Packet.Family() {
			continue
		}
		for _, c := range t.Chains {
			for _, r := range c.Rules {
				if r.Origin.Option == option {
					rules = append(rules, r)
				}
			}
		}
	}
	return rules
}

// ReachesOwn reports whether the packet reached any of our rules in a table that could
// have captured it.
func (b *Bypass) ReachesOwn() bool {
	return slices.ContainsFunc(b.Path, func(s Step) bool {
		return b.mayCapture(s) && b.own.OwnsRule(s.Chain, s.Rule)
	})
}

// Unreached is the reason if our rules are there but the packet does not reach them: the
// jump to them, or its chain, is gone.
func (b *Bypass) Unreached() Reason {
	return Final(fmt.Sprintf("no rule in %s sends it to the rules of meshtables", b.Packet.Hook), "apply again")
}

// Altered is the reason if the packet passed rules of an option that no longer do what
// they were written for.
func (b *Bypass) Altered(option string) Reason {
	o := iptables.Origin{Option: option, Value: strings.Join(b.Given(option), ",")}
	return Final(fmt.Sprintf("somebody changed the rules of %s: as meshtables writes them, they capture it", o), "apply again")
}

// Unplanned is the reason if a rule exempts the packet that no option makes.
func (b *Bypass) Unplanned() Reason {
	return Final("it is exempted by "+b.Step.String(), "apply again")
}
