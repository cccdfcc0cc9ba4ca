package explain

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

// firstOrdinaryID is the first id that is nobody special's (login.defs(5)).
const firstOrdinaryID = 1000

// OrdinaryID returns a user and group id that no rule on a path knows: that of an
// application.
func OrdinaryID(path *installed.Path) uint32 {
	var named []iptables.IDMatch
	for _, t := range slices.Concat(path.Rules.Tables, path.Before.Tables) {
		for _, c := range t.Chains {
			for _, r := range c.Rules {
				for _, m := range r.Matches {
					named = append(named, ids(m)...)
				}
			}
		}
	}
	id := uint32(firstOrdinaryID)
	for i := 0; i < len(named); i++ {
		if m := named[i]; m.Set && m.First <= id && id <= m.Last && m.Last < ^uint32(0)-1 {
			id = m.Last + 1
			i = -1
		}
	}
	return id
}

// ids returns the users and groups that a match names.
func ids(m iptables.Match) []iptables.IDMatch {
	switch m := m.(type) {
	case iptables.Owner:
		return []iptables.IDMatch{m.UID, m.GID}
	case iptables.Set:
		if m.Field != iptables.OwnerUID && m.Field != iptables.OwnerGID {
			return nil
		}
		var all []iptables.IDMatch
		for _, e := range m.Elements {
			first, last := e.IDs()
			all = append(all, iptables.IDMatch{First: first, Last: last, Set: true})
		}
		return all
	}
	return nil
}
