package foreign

import (
	"fmt"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

// Shadow is an installed jump of ours that no packet for the proxy reaches.
type Shadow struct {
	Rule
	// By is the foreign rule or policy that takes all of them, such as "rule 1: -p tcp -j
	// ACCEPT" or, in another table, "rule 1 of ip nat OUTPUT: -p tcp -j DROP".
	By string
}

// Shadows returns our jumps in a table of the path that no packet for the proxy reaches,
// because a foreign rule before them, in the same table or an earlier one, takes every
// packet that they match, or every TCP packet: apart from DNS queries, only those can get
// to the proxy. Foreign rules that take only some packets are no mistake: others exempt
// their traffic that way.
func Shadows(path *installed.Path, t *iptables.Table) []Shadow {
	var all []Shadow
	own := path.Ownership
	for _, chain := range t.Chains {
		if own.Owns(chain.Name) {
			continue
		}
		rules := chain.Rules
		for i, r := range rules {
			if !own.OwnsJump(r) {
				continue
			}
			ofUse := r
			if ofUse.Protocol == (iptables.ProtocolMatch{}) && t.Name != iptables.Raw {
				ofUse.Protocol.Protocol = iptables.TCP
			}
			by, ok := earlier(path, t, chain.Name, ofUse)
			if !ok {
				by, ok = taker(own, t, rules[:i], ofUse)
			}
			if ok {
				all = append(all, Shadow{Rule{t.Name, chain.Name, i + 1, r}, by})
			}
		}
	}
	return all
}

// taker returns the first foreign rule of a chain that takes every packet of r.
func taker(own iptables.Ownership, t *iptables.Table, before []iptables.Rule, r iptables.Rule) (by string, ok bool) {
	for i, foreign := range before {
		if !own.OwnsJump(foreign) && matchesAllOf(foreign, r) && takes(own, t, foreign, r, 0) {
			return fmt.Sprintf("rule %d: %s", i+1, foreign), true
		}
	}
	return "", false
}

// matchesAllOf reports whether all conditions of a rule are conditions of r too.
func matchesAllOf(rule, r iptables.Rule) bool {
	for _, condition := range []struct{ asked, too bool }{
		{rule.Source != iptables.Address{}, rule.Source == r.Source},
		{rule.Destination != iptables.Address{}, rule.Destination == r.Destination},
		{rule.In != iptables.Interface{}, rule.In == r.In},
		{rule.Out != iptables.Interface{}, rule.Out == r.Out},
		{rule.Protocol != iptables.ProtocolMatch{}, rule.Protocol == r.Protocol},
	} {
		if condition.asked && !condition.too {
			return false
		}
	}
	return !slices.ContainsFunc(rule.Uncommented().Matches, func(m iptables.Match) bool {
		ports, ok := m.(iptables.Ports)
		// "-m tcp" alone is how some write "-p tcp".
		return !ok || ports.Source.Set || ports.Destination.Set
	})
}

// maxDepth limits how deep jumps are followed, as the kernel does (NFT_JUMP_STACK_SIZE in
// net/netfilter/nf_tables.h).
const maxDepth = 16

// takes reports whether a foreign rule, depth jumps below the built-in chain, ends the
// walk through that chain for every packet that r matches. An unknown target may do
// anything and is not blamed; see decides.
func takes(own iptables.Ownership, t *iptables.Table, rule, r iptables.Rule, depth int) bool {
	switch target := rule.Target.(type) {
	case iptables.Verdict:
		return target != iptables.Return || depth == 0
	case iptables.Redirect:
		return true
	case iptables.UnknownTarget:
		return decides(target)
	case iptables.Jump, iptables.Goto:
		name, _ := rule.JumpsTo()
		chain := t.Chain(name)
		if chain == nil || depth == maxDepth {
			return false
		}
		if _, gone := target.(iptables.Goto); gone && depth == 0 {
			// What it does not handle gets the policy, and passes rules of ours only in
			// that chain.
			return !slices.ContainsFunc(chain.Rules, own.OwnsJump)
		}
		for _, inner := range chain.Rules {
			if inner.Target == iptables.Return || !matchesAllOf(inner, r) {
				// What it does not handle comes back.
				return false
			}
			if takes(own, t, inner, r, depth+1) {
				return true
			}
		}
	}
	return false
}
