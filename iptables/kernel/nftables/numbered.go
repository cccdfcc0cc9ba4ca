package nftables

import (
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/ipset"
)

// numbered returns the wanted rules with the numbers of the ipsets that they name, which
// have to be there: iptables' form knows sets by their number.
func (b *Backend) numbered(want iptables.Ruleset) (iptables.Ruleset, error) {
	looksUp := func(_ *iptables.Table, _ *iptables.Chain, r *iptables.Rule) bool { return r.LooksUpSet() }
	if b.native || !want.HasRule(looksUp) {
		return want, nil
	}
	var failed error
	numbered := want.Map(func(_ *iptables.Chain, r iptables.Rule) iptables.Rule {
		return r.MapSets(func(set iptables.NamedSet) iptables.NamedSet {
			var err error
			if set.Index, err = ipset.IndexOf(b.namespace, set.Name); err != nil {
				failed = err
			}
			return set
		})
	})
	return numbered, failed
}
