package form

import (
	"fmt"
	"slices"

	"github.com/meshtables/meshtables/iptables"
)

// For xt_owner, a packet without a socket, such as one of the kernel's own, comes from
// another user (owner_mt in net/netfilter/xt_owner.c); nf_tables' "meta skuid != 1337"
// does not match it at all (nft_meta_get_eval_skugid in net/netfilter/nft_meta.c breaks).
// So the native form never negates a user or a group.

// withoutNegatedOwners splits a chain into parts without negated users and groups. A rule
// "C, not from x → T" splits its chain:
//
//	C                →  goto _2      _2:  from x  →  goto _3
//	                    goto _3                      T
//	                                                 goto _3
//
// and everything after it is in _3. If the rule has no other condition, the rest of the
// chain itself is _2.
func withoutNegatedOwners(t *iptables.PlannedTable, whole iptables.PlannedChain) []iptables.PlannedChain {
	parts := 1
	newPart := func() string {
		for {
			parts++
			name := fmt.Sprintf("%s_%d", whole.Name, parts)
			if !slices.ContainsFunc(t.Chains, func(c iptables.PlannedChain) bool { return c.Name == name }) {
				return name
			}
		}
	}
	var chains []iptables.PlannedChain
	chain := iptables.PlannedChain{Name: whole.Name}
	for _, r := range whole.Rules {
		plain, exceptions := takeNegatedOwners(r)
		if len(exceptions) == 0 {
			chain.Rules = append(chain.Rules, r)
			continue
		}
		step := func(target iptables.Target, matches ...iptables.Match) iptables.PlannedRule {
			return iptables.PlannedRule{Family: r.Family, Rule: iptables.Rule{Matches: matches, Target: target, Origin: r.Origin}}
		}
		then := step(r.Target)
		then.Reason = r.Reason
		split := !isUnconditional(plain.Rule)
		special := ""
		if split {
			special = newPart()
		}
		rest := iptables.Goto{Chain: newPart()}
		goOn := iptables.PlannedRule{Rule: iptables.Rule{Target: rest, Origin: r.Origin}}
		if split {
			plain.Target, plain.Reason = iptables.Goto{Chain: special}, ""
			chain.Rules = append(chain.Rules, plain, goOn)
			chains = append(chains, chain)
			chain = iptables.PlannedChain{Name: special}
		}
		for _, x := range exceptions {
			exempt := step(rest, x)
			exempt.Reason = "skips the next rule"
			chain.Rules = append(chain.Rules, exempt)
		}
		chain.Rules = append(chain.Rules, then)
		if _, decides := r.Target.(iptables.Verdict); !decides || r.Family != 0 {
			chain.Rules = append(chain.Rules, goOn)
		}
		chains = append(chains, chain)
		chain = iptables.PlannedChain{Name: rest.Chain}
	}
	return append(chains, chain)
}

func isUnconditional(r iptables.Rule) bool {
	r.Target = nil
	return r.String() == ""
}

// takeNegatedOwners returns a rule without its negated users and groups, and a match for
// what they exclude: one for users and one for groups.
func takeNegatedOwners(r iptables.PlannedRule) (plain iptables.PlannedRule, excluded []iptables.Match) {
	excludedIDs := make(map[iptables.SetField][]iptables.Interval)
	plain = r
	plain.Matches = slices.Clone(r.Matches)
	plain.Matches = slices.DeleteFunc(plain.Matches, func(m iptables.Match) bool {
		field, ids, ok := negatedOwners(m)
		if ok {
			excludedIDs[field] = append(excludedIDs[field], ids...)
		}
		return ok
	})
	for _, f := range []iptables.SetField{iptables.OwnerUID, iptables.OwnerGID} {
		switch ids := iptables.NewSet(f, false, excludedIDs[f]); len(ids.Elements) {
		case 0:
		case 1:
			excluded = append(excluded, intervalMatch("", f, false, ids.Elements[0]))
		default:
			excluded = append(excluded, ids)
		}
	}
	return plain, excluded
}

// negatedOwners returns the ids of users or groups that a match excludes.
func negatedOwners(m iptables.Match) (f iptables.SetField, ids []iptables.Interval, ok bool) {
	switch m := m.(type) {
	case iptables.Set:
		return m.Field, m.Elements, m.Not && (m.Field == iptables.OwnerUID || m.Field == iptables.OwnerGID)
	case iptables.Owner:
		if m.UID.Not {
			return iptables.OwnerUID, []iptables.Interval{iptables.IDInterval(m.UID.First, m.UID.Last)}, true
		}
		if m.GID.Not {
			return iptables.OwnerGID, []iptables.Interval{iptables.IDInterval(m.GID.First, m.GID.Last)}, true
		}
	}
	return "", nil, false
}
