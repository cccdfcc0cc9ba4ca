package sidecar

import (
	"net/netip"
	"slices"

	"github.com/meshtables/meshtables/iptables"
)

// Proxies returns the users that may be the proxy: all that the rules of a family name, in
// rule order, of a range the first. Rules about the proxy come before rules about other
// users.
func (Policy) Proxies(rules *iptables.Ruleset, f iptables.Family) []uint32 {
	var users []uint32
	for _, named := range rules.Named(f, iptables.OwnerUID) {
		if uid, _ := named.IDs(); !slices.Contains(users, uid) {
			users = append(users, uid)
		}
	}
	return users
}

// Source returns the address from which the proxy connects to the application.
func (Policy) Source(f iptables.Family) netip.Addr { return passthrough(f).Addr() }
