package capture

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
)

// Policies are all that a program knows.
type Policies []Policy

// Ownership returns what any of them owns.
func (all Policies) Ownership() iptables.Ownership {
	var own iptables.Ownership
	for _, p := range all {
		own = own.And(p.Ownership())
	}
	return own
}

// Named returns the policy of that name.
func (all Policies) Named(name string) (p Policy, ok bool) {
	for _, p := range all {
		if p.Name() == name {
			return p, true
		}
	}
	return nil, false
}

// Installed returns the policy whose rules they are, if anything tells: the one that there
// is most evidence of. Names of chains alone do not tell, because policies share some, and
// rules that somebody changed are still those of a policy.
func (all Policies) Installed(rules *iptables.Ruleset) (installed Policy, ok bool) {
	most := 0
	for _, p := range all {
		switch n := p.Evidence(rules); {
		case n > most:
			installed, ok, most = p, true, n
		case n == most:
			installed, ok = nil, false
		}
	}
	return installed, ok
}

// Other returns a policy whose rules there are although those of p are expected. Where the names
// of chains do not tell, because policies share them, the rules do.
func (all Policies) Other(p Policy, rules *iptables.Ruleset) (other Policy, ok bool) {
	var there Policies
	for _, o := range all {
		own := o.Ownership()
		if found := own.Of(*rules); found.Len() > 0 && !slices.Equal(own.Chains, p.Ownership().Chains) {
			there = append(there, o)
		}
	}
	if len(there) > 0 {
		if other, ok = there.Installed(rules); !ok {
			other = there[0]
		}
		return other, true
	}
	other, ok = all.Installed(rules)
	return other, ok && other != p
}

// CountEvidence counts chains that only one policy makes, and rules in the others that only
// it writes.
func CountEvidence(rules *iptables.Ruleset, isOwnChain func(string) bool, isOwnRule func(chain string, r *iptables.Rule) bool) int {
	n := 0
	for _, t := range rules.Tables {
		for _, c := range t.Chains {
			if isOwnChain(c.Name) {
				n++
				continue
			}
			for i := range c.Rules {
				if isOwnRule(c.Name, &c.Rules[i]) {
					n++
				}
			}
		}
	}
	return n
}
