package main

import (
	"net/netip"
	"slices"

	"github.com/meshtables/meshtables/iptables"
)

// assumed names what would have said the parts of a packet that the question leaves
// open, and that do not follow from it.
func (q *question) assumed(p *iptables.Packet, addresses []netip.Prefix) []string {
	local := !q.inbound && isLocal(p.Destination, addresses)
	_, known := ownAddress(addresses, p.Family())
	var names []string
	for _, part := range []struct {
		open bool
		name string
	}{
		{!q.to.Addr().IsValid() && !known, "ADDRESS"},
		{!q.from.Addr().IsValid() && !local, "--from"},
		{q.from.Port() == 0 && (q.from.Addr().IsValid() || local), "port of --from"},
		{!q.inbound && q.uid == nil, "--uid"},
		{!q.inbound && q.gid == nil, "--gid"},
		{q.inbound && q.options.in == "", "--in-interface"},
		{!q.inbound && q.options.out == "" && !local, "--out-interface"},
	} {
		if part.open {
			names = append(names, part.name)
		}
	}
	return names
}

// isLocal reports whether an address is the machine's own.
func isLocal(a netip.Addr, addresses []netip.Prefix) bool {
	return a.IsLoopback() || slices.ContainsFunc(addresses, func(p netip.Prefix) bool { return p.Addr() == a })
}
