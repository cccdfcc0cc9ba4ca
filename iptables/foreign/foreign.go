// Package foreign judges the rules of others around ours: which of them come before ours,
// which keep packets from ours, and which meshtables does not look at. Foreign rules are
// not ours to change or reorder; callers only report them.
package foreign

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

// IsMet reports whether packets that could be captured pass a built-in chain of a table,
// and meshtables looks at its rules.
func IsMet(table, chain string) bool {
	return slices.Contains([]string{iptables.Raw, iptables.Mangle, iptables.Nat}, table) &&
		(chain == iptables.Prerouting || chain == iptables.Output)
}

// IsOn reports whether others have a rule or a policy on a path that can keep packets
// from our rules.
func IsOn(path *installed.Path) bool {
	drops := func(c iptables.Chain) bool { return c.Policy == iptables.Policy(iptables.Drop) }
	return slices.ContainsFunc([]iptables.Ruleset{path.Rules, path.Before}, func(rs iptables.Ruleset) bool {
		own := path.Ownership.Of(rs)
		return own.Len() < rs.Len() || slices.ContainsFunc(rs.Tables, func(t iptables.Table) bool {
			return slices.ContainsFunc(t.Chains, drops)
		})
	})
}

// Rule is the place of a rule, or of the policy of a chain.
type Rule struct {
	// Table is the name of the table; see [installed.Table.Title].
	Table, Chain string
	// Position counts the rules of the chain from 1, as iptables --line-numbers does. 0
	// is the chain's policy DROP.
	Position int
	Rule     iptables.Rule
}
