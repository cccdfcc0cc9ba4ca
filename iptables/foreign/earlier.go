package foreign

import (
	"fmt"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

// earlier returns the rule or policy that keeps every packet of a jump of ours from its
// table. It looks at the tables before it at the same hook. What one table accepts goes
// on to the next.
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

// keeper returns the rule or policy of a table that keeps every packet of a jump from
// later tables.
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

// end is how the way of packets through a chain ends.
type end int

const (
	unsure     end = iota // some may go on, or it is unknown
	throughEnd            // all that the chain does not keep reach its end
	kept                  // none reaches a later table
)

// endIn returns how the way of all packets of a jump ends in a chain, depth jumps below
// the built-in one, and the rule that keeps them if they are kept.
func endIn(t *iptables.Table, chain *iptables.Chain, jump iptables.Rule, depth int) (e end, at int) {
	for i, r := range chain.Rules {
		all := matchesAllOf(r, jump)
		switch e := endAt(t, r, jump, depth); {
		case e == kept && all:
			return kept, i
		case e == unsure:
			return unsure, 0
		}
		// Packets that the rule does not keep go on to the next rule.
	}
	return throughEnd, 0
}

// decides reports whether a target decides finally about a packet, or in nat about its
// connection (iptables-extensions(8)).
func decides(t iptables.UnknownTarget) bool { return t.Name == "DNAT" || t.Name == "REJECT" }

// endAt returns how the way of the packets of a jump that a rule matches ends: throughEnd
// if they go on to the next rule.
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
