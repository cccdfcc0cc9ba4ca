package sidecar

import (
	"net/netip"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
)

// Proxies returns as proxies all users that the rules of a family name, in rule order, of a
// range the first. Rules about the proxy come before rules about other users. Its group has
// the same number by default.
func (Policy) Proxies(rules *iptables.Ruleset, f iptables.Family) []explain.Proxy {
	var users []uint32
	for _, named := range rules.Named(f, iptables.OwnerUID) {
		if uid, _ := named.IDs(); !slices.Contains(users, uid) {
			users = append(users, uid)
		}
	}
	proxies := make([]explain.Proxy, len(users))
	for i, uid := range users {
		proxies[i].Owner = &iptables.SocketOwner{UID: uid, GID: uid}
	}
	return proxies
}

// Source returns the address from which the proxy connects to the application.
func (Policy) Source(f iptables.Family) netip.Addr { return passthrough(f).Addr() }
