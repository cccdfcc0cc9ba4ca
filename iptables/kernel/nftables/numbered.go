package nftables

import (
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/ipset"
)

// numbered returns the wanted rules with the numbers of the ipsets that they name, which
// have to be there: iptables' form knows sets by their number.
func (b *Backend) numbered(want iptables.Ruleset) (iptables.Ruleset, error) {
	if b.native {
		return want, nil
	}
	var failed error
	numbered := want.Map(func(_ *iptables.Chain, r iptables.Rule) iptables.Rule {
		if len(iptables.MatchesOf[iptables.NamedSet](r)) == 0 {
			return r
		}
		matches := make([]iptables.Match, len(r.Matches))
		for i, m := range r.Matches {
			if set, ok := m.(iptables.NamedSet); ok {
				var err error
				if set.Index, err = ipset.IndexOf(b.namespace, set.Name); err != nil {
					failed = err
				}
				m = set
			}
			matches[i] = m
		}
		r.Matches = matches
		return r
	})
	return numbered, failed
}
