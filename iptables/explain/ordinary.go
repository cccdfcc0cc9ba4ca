package explain

import "github.com/meshtables/meshtables/iptables"

// firstOrdinaryID is the first id that is nobody special's (login.defs(5)).
const firstOrdinaryID = 1000

// OrdinaryID returns a user and group id that no rule knows: that of an
// application.
func OrdinaryID(rs *iptables.Ruleset) uint32 {
	var named []iptables.IDMatch
	for _, t := range rs.Tables {
		for _, c := range t.Chains {
			for _, r := range c.Rules {
				for _, m := range r.Matches {
					if m, ok := m.(iptables.Owner); ok {
						named = append(named, m.UID, m.GID)
					}
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
