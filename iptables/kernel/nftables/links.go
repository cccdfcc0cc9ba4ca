package nftables

import (
	"context"

	"github.com/meshtables/meshtables/iptables/namespace"
	"github.com/vishvananda/netlink"
)

// links returns the names of interfaces by their numbers. Without them rules that have
// numbers match none.
func links(ctx context.Context, ns *namespace.Namespace) map[uint32]string {
	names := make(map[uint32]string)
	found, err := namespace.List(ctx, ns, (*netlink.Handle).LinkList)
	if err != nil {
		return names
	}
	for _, link := range found {
		names[uint32(link.Attrs().Index)] = link.Attrs().Name
	}
	return names
}
