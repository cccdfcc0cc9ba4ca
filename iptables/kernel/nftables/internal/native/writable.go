package native

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
)

// writable returns the wanted rules that can be written.
//
// For a plan, that is all of it. But loaded rules are wanted too, to undo a change or
// while other rules take over, and they include what somebody else did to the table:
// chains that are not ours, and rules that need something else in the table. A change of
// the table would remove all that, so it is left out.
func writable(own iptables.Ownership, want iptables.Ruleset) iptables.Ruleset {
	rs := iptables.Ruleset{Tables: slices.Clone(want.Tables)}
	for i := range rs.Tables {
		t := &rs.Tables[i]
		t.Chains = slices.DeleteFunc(slices.Clone(t.Chains), func(c iptables.Chain) bool {
			return !own.Owns(c.Name) && !iptables.IsBuiltin(t.Name, c.Name)
		})
		for j := range t.Chains {
			c := &t.Chains[j]
			c.Rules = slices.DeleteFunc(slices.Clone(c.Rules), func(r iptables.Rule) bool { return needsForeign(own, r) })
		}
	}
	return rs
}

// needsForeign reports whether a rule needs something in the table that is not written
// with it: a foreign chain, or a set, a map or an object.
func needsForeign(own iptables.Ownership, r iptables.Rule) bool {
	if to, ok := r.JumpsTo(); ok && !own.Owns(to) {
		return true
	}
	if t, ok := r.Target.(iptables.UnknownTarget); ok && expression.IsPartial(t.Name, t.Kept) {
		return true
	}
	return slices.ContainsFunc(r.Matches, func(m iptables.Match) bool {
		unknown, ok := m.(iptables.UnknownMatch)
		return ok && expression.IsPartial(unknown.Name, unknown.Kept)
	})
}
