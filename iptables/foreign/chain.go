package foreign

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

// ComesFirst reports whether packets meet a base chain, whose rules nobody here reads,
// before rules of ours that are in a form: it may do anything to them.
func ComesFirst(c installed.Chain, f installed.Form, rules *iptables.Ruleset) bool {
	own := rules.Own()
	return slices.ContainsFunc(c.Before, func(p installed.Place) bool {
		t := own.Table(p.Family, p.Table)
		return p.Form == f && t != nil && t.Chain(c.Hook) != nil
	})
}
