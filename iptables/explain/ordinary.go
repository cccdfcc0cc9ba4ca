package explain

import (
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

// firstOrdinaryID is the first id that is not a system's (login.defs(5)).
const firstOrdinaryID = 1000

// OrdinaryID returns an id for an application's user and group. No rule on the path names
// it.
func OrdinaryID(path *installed.Path) uint32 {
	var named []iptables.Interval
	for _, f := range iptables.Families() {
		for _, t := range path.Tables(f) {
			for _, c := range t.Chains {
				for _, r := range c.Rules {
					named = append(named, r.Named(iptables.OwnerUID)...)
					named = append(named, r.Named(iptables.OwnerGID)...)
				}
			}
		}
	}
	id := uint32(firstOrdinaryID)
	for i := 0; i < len(named); i++ {
		if first, last := named[i].IDs(); first <= id && id <= last && last < ^uint32(0)-1 {
			id = last + 1
			i = -1
		}
	}
	return id
}
