package native

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
)

// writable returns what of wanted rules can be written.
//
// A plan is that as a whole. But rules that have been loaded are wanted too, to take
// a change back or while others take over, and with them comes what somebody else
// did to the table: chains that are not ours, and rules that are nothing without
// something else in the table. None of it would outlast a change of the table, so it
// is left out.
func writable(own iptables.Ownership, want iptables.Ruleset) iptables.Ruleset {
	rs := iptables.Ruleset{Tables: slices.Clone(want.Tables)}
	for i := range rs.Tables {
		t := &rs.Tables[i]
		t.Chains = slices.DeleteFunc(slices.Clone(t.Chains), func(c iptables.Chain) bool {
			return !own.Owns(c.Name) && !tables.IsBuiltin(t.Name, c.Name)
		})
		for j := range t.Chains {
			c := &t.Chains[j]
			c.Rules = slices.DeleteFunc(slices.Clone(c.Rules), func(r iptables.Rule) bool { return needsForeign(own, r) })
		}
	}
	return rs
}

// needsForeign reports whether a rule is bound to something in the table that is not
// written with it: a chain of somebody else, or a set, a map or an object.
func needsForeign(own iptables.Ownership, r iptables.Rule) bool {
	if to, ok := r.JumpsTo(); ok && !own.Owns(to) {
		return true
	}
	if t, ok := r.Target.(iptables.UnknownTarget); ok && expression.IsPartial(t.Name, t.Args) {
		return true
	}
	return slices.ContainsFunc(r.Matches, func(m iptables.Match) bool {
		unknown, ok := m.(iptables.UnknownMatch)
		return ok && expression.IsPartial(unknown.Name, unknown.Args)
	})
}
