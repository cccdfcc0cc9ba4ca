// Package host finds out about the namespace that meshtables runs in what
// planning rules needs: its addresses and its name servers, and who its users
// and groups are.
package host

import "net/netip"

// Host is what is known about a network namespace and the root file system that
// goes with it.
type Host struct {
	// Addresses are those of all interfaces, with their prefix lengths.
	Addresses []netip.Prefix
	// NameServers are those of resolv.conf, in its order.
	NameServers []netip.Addr
}
