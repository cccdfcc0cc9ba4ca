// Package foreign judges what others have around our rules: what of it packets meet
// before ours, what keeps them from ours, and what nobody here looks at. Foreign rules
// are not ours to change or to reorder; whoever asks tells of them.
package foreign

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

// IsMet reports whether packets that could be captured meet a built-in chain of a table,
// and its rules are looked at.
func IsMet(table, chain string) bool {
	return slices.Contains([]string{iptables.Raw, iptables.Mangle, iptables.Nat}, table) &&
		(chain == iptables.Prerouting || chain == iptables.Output)
}

// IsOn reports whether others have something on a path that can keep packets from rules
// of ours: a rule, or a policy.
func IsOn(path *installed.Path) bool {
	drops := func(c iptables.Chain) bool { return c.Policy == iptables.Policy(iptables.Drop) }
	return slices.ContainsFunc([]iptables.Ruleset{path.Rules, path.Before}, func(rs iptables.Ruleset) bool {
		own := path.Ownership.Of(rs)
		return own.Len() < rs.Len() || slices.ContainsFunc(rs.Tables, func(t iptables.Table) bool {
			return slices.ContainsFunc(t.Chains, drops)
		})
	})
}

// Rule is a rule, or the policy of a chain, by its place.
type Rule struct {
	// Table is the name of the table; see [installed.Table.Title].
	Table, Chain string
	// Position counts the rules of the chain from 1, as iptables --line-numbers does.
	// 0 is the chain's policy, which drops.
	Position int
	Rule     iptables.Rule
}
