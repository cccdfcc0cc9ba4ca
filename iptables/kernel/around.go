package kernel

import (
	"context"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables"
)

// Around returns what of nf_tables packets meet beside rules of ours that a backend
// holds. What is around legacy tables is not known.
func Around(ctx context.Context, b Backend, ours iptables.Ruleset) (nftables.Surroundings, error) {
	switch FormOf(b) {
	case NFT:
		return nftables.New().Surroundings(ctx, ours)
	case Native:
		return nftables.NewNative().Surroundings(ctx, ours)
	}
	return nftables.Surroundings{}, nil
}
