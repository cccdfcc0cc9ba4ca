package foreign

import (
	"fmt"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

// earlier returns what keeps every packet of a jump of ours from the table that it is
// in: a rule, or a policy. It looks at the tables that packets meet before it at the same
// hook. What one of them accepts goes on to the next.
func earlier(path *installed.Path, own *iptables.Table, hook string, jump iptables.Rule) (by string, ok bool) {
	for _, t := range path.Met(own.Family) {
		if !t.Before && t.Name == own.Name {
			break
		}
		if by, ok := keeper(t, hook, jump); ok {
			return by, true
		}
	}
	return "", false
}

// keeper returns what of a table keeps every packet of a jump from the tables behind it.
func keeper(t installed.Table, hook string, jump iptables.Rule) (by string, ok bool) {
	base := t.Chain(hook)
	if base == nil {
		return "", false
	}
	switch end, at := endIn(t.Table, base, jump, 0); {
	case end == kept:
		return fmt.Sprintf("rule %d of %s %s: %s", at+1, t.Title(), hook, base.Rules[at]), true
	case end == throughEnd && base.Policy == iptables.Policy(iptables.Drop):
		return fmt.Sprintf("policy DROP of %s %s", t.Title(), hook), true
	}
	return "", false
}

// end is where the way of packets through a chain ends.
type end int

const (
	unsure     end = iota // for some it may not end here, or nobody here knows
	throughEnd            // for all that the chain does not keep at its end
	kept                  // for all in the chain: none comes to a later table
)

// endIn returns where the ways of all packets of a jump end in a chain, depth chains
// away from the built-in one, and at which rule if they are kept.
func endIn(t *iptables.Table, chain *iptables.Chain, jump iptables.Rule, depth int) (e end, at int) {
	for i, r := range chain.Rules {
		all := matchesAllOf(r, jump)
		switch e := endAt(t, r, jump, depth); {
		case e == kept && all:
			return kept, i
		case e == unsure:
			return unsure, 0
		}
		// Those that the rule does not keep go on to the next one.
	}
	return throughEnd, 0
}

// decides reports whether what a target does with a packet is the last of it, or in nat
// with its connection (iptables-extensions(8)).
func decides(t iptables.UnknownTarget) bool { return t.Name == "DNAT" || t.Name == "REJECT" }

// endAt returns where the ways of those packets of a jump end that a rule matches:
// throughEnd if they go on to the next rule.
func endAt(t *iptables.Table, r, jump iptables.Rule, depth int) end {
	switch target := r.Target.(type) {
	case nil, iptables.Alteration:
		return throughEnd
	case iptables.Redirect:
		return kept
	case iptables.Verdict:
		if target == iptables.Drop {
			return kept
		}
	case iptables.UnknownTarget:
		switch {
		case target.OnlyTells():
			return throughEnd
		case decides(target):
			return kept
		}
	case iptables.Jump:
		if to := t.Chain(target.Chain); to != nil && depth < maxDepth {
			e, _ := endIn(t, to, jump, depth+1)
			return e
		}
	}
	return unsure
}
