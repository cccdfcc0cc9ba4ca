package nftables

import (
	"context"

	"github.com/meshtables/meshtables/iptables/internal/rtnetlink"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// links returns the names of interfaces by their numbers. Without them rules that have
// numbers match none.
func links(ctx context.Context, ns *namespace.Namespace) map[uint32]string {
	names := make(map[uint32]string)
	found, err := rtnetlink.Links(ctx, ns)
	if err != nil {
		return names
	}
	for _, link := range found {
		names[link.Index] = link.Name
	}
	return names
}
