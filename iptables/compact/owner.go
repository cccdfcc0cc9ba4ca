package compact

import (
	"fmt"
	"slices"

	"github.com/meshtables/meshtables/iptables"
)

// xt_owner takes a packet without a socket, such as one of the kernel's own, for
// one of another user (owner_mt in net/netfilter/xt_owner.c); nf_tables' "meta
// skuid != 1337" does not match it at all (nft_meta_get_eval_skugid in
// net/netfilter/nft_meta.c breaks). So the native form never asks who a packet is
// not from.

// absorb takes "not from x" out of a rule where a rule after it, with only
// others of the same target between, does the same with what is from x:
//
//	-o lo -m owner ! --uid-owner 1337 -j RETURN   →   -o lo -j RETURN
//	-m owner --uid-owner 1337 -j RETURN               -m owner --uid-owner 1337 -j RETURN
func absorb(rules []iptables.Rule, e *effects) {
	for i := range rules {
		for _, f := range []iptables.SetField{iptables.OwnerUID, iptables.OwnerGID} {
			rest, not, values, ok := extract(rules[i], f)
			if !ok || !not || !e.of(rules[i].Target).pure {
				continue
			}
			rest.Matches = slices.DeleteFunc(rest.Matches, isHole)
			complement := conditionsOf(rest)
			*complement.of(f) = constraint{given: true, set: iptables.NewSet(f, false, values)}
			for _, r := range rules[i+1:] {
				if !sameTarget(r.Target, rules[i].Target) {
					break
				}
				if c := conditionsOf(r); complement.imply(&c) {
					rules[i] = rest
					break
				}
			}
		}
	}
}

// withoutNegatedOwners returns the chain of that name in parts, none of which
// asks who a packet is not from. A rule "C, not from x → T" splits its chain:
//
//	C                →  goto _2      _2:  from x  →  goto _3
//	                    goto _3                      T
//	                                                 goto _3
//
// and all after it is in _3. Where the rule has no other condition, _2 is the
// rest of the chain itself.
func withoutNegatedOwners(t *iptables.Table, name string, rules []iptables.Rule) []iptables.Chain {
	var chains []iptables.Chain
	parts := 1
	part := func() string {
		for {
			parts++
			if n := fmt.Sprintf("%s_%d", name, parts); t.Chain(n) == nil {
				return n
			}
		}
	}
	chain := iptables.Chain{Name: name}
	for i, r := range rules {
		plain, exceptions := takeNegatedOwners(r)
		if len(exceptions) == 0 {
			chain.Rules = append(chain.Rules, r)
			continue
		}
		decided := effectsIn(t).of(r.Target).decides
		if i == len(rules)-1 && r.Target == iptables.Return {
			// Nothing comes after it, so it does nothing.
			continue
		}
		c := conditionsOf(plain)
		special := part()
		var rest string
		then := iptables.Rule{Target: r.Target, Origin: r.Origin, Reason: r.Reason}
		if c.unconditional() {
			rest = special
		} else {
			rest = part()
			plain.Target = iptables.Goto{Chain: special}
			chain.Rules = append(chain.Rules, plain, iptables.Rule{Target: iptables.Goto{Chain: rest}, Origin: r.Origin})
			chains = append(chains, chain)
			chain = iptables.Chain{Name: special}
		}
		for _, x := range exceptions {
			chain.Rules = append(chain.Rules, iptables.Rule{
				Matches: []iptables.Match{x}, Target: iptables.Goto{Chain: rest}, Origin: r.Origin,
				Reason: "not let go by the next rule",
			})
		}
		chain.Rules = append(chain.Rules, then)
		if !decided {
			chain.Rules = append(chain.Rules, iptables.Rule{Target: iptables.Goto{Chain: rest}, Origin: r.Origin})
		}
		chains = append(chains, chain)
		chain = iptables.Chain{Name: rest}
	}
	return append(chains, chain)
}

// takeNegatedOwners returns a rule without its conditions on who a packet is not
// from, and a match for what they exclude: one for users and one for groups.
func takeNegatedOwners(r iptables.Rule) (plain iptables.Rule, excluded []iptables.Match) {
	plain = r
	plain.Matches = nil
	excludedIDs := make(map[iptables.SetField][]iptables.Interval)
	for _, m := range r.Matches {
		taken := false
		for _, f := range []iptables.SetField{iptables.OwnerUID, iptables.OwnerGID} {
			if _, not, values, ok := extractMatch(m, f); ok && not {
				excludedIDs[f] = append(excludedIDs[f], values...)
				taken = true
			}
		}
		if !taken {
			plain.Matches = append(plain.Matches, m)
		}
	}
	for _, f := range []iptables.SetField{iptables.OwnerUID, iptables.OwnerGID} {
		if len(excludedIDs[f]) > 0 {
			excluded = append(excluded, matchFor(&plain, iptables.NewSet(f, false, excludedIDs[f])))
		}
	}
	return plain, excluded
}
