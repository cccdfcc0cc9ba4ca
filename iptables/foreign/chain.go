package foreign

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

// ComesFirst reports whether packets pass a base chain, whose rules meshtables does not
// read, before our rules in a form. It may do anything to the packets.
func ComesFirst(c installed.Chain, f installed.Form, ours *iptables.Ruleset) bool {
	return slices.ContainsFunc(c.Before, func(p installed.Place) bool {
		t := ours.Table(p.Family, p.Table)
		if p.Form != f || t == nil {
			return false
		}
		at := t.Chain(c.Hook)
		return at != nil && len(at.Rules) > 0
	})
}
