package kernel

import (
	"context"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel/nftables"
)

// movable returns the rules that one transaction can move to the native form, which comes
// after iptables' form on the packet path. It is not ok in the other direction, or if
// inbound connections change from REDIRECT to TPROXY at the same time: a packet could be
// between the two when the transaction takes effect, and pass neither. In these cases the
// new rules are added first, and the old ones removed after.
func movable(chosen Backend, others []holding, want iptables.Ruleset) (from holding, native *nftables.Backend, ok bool) {
	native, ok = chosen.(*nftables.Backend)
	if !ok || native.Name() != Native || len(want.Tables) == 0 || comesBefore(want) {
		return from, nil, false
	}
	for _, other := range others {
		if other.have.Form == installed.NFT {
			_, switches := handover(other.have.Ownership, other.have.Rules, want)
			return other, native, !switches
		}
	}
	return from, nil, false
}

// comesBefore reports whether rules have a chain that comes before that of iptables' form.
func comesBefore(want iptables.Ruleset) bool {
	return slices.ContainsFunc(want.Tables, func(t iptables.Table) bool {
		c := t.Chain(iptables.Postrouting)
		return c != nil && len(c.Rules) > 0
	})
}

func move(from holding, native *nftables.Backend, to holding, want iptables.Ruleset) step {
	return step{
		do: func(ctx context.Context) error { return native.Take(ctx, to.have, want) },
		undo: func(ctx context.Context) error {
			// The new rules go only when the old ones are back.
			if err := from.Replace(ctx, installed.Backend{}, from.have.Own()); err != nil {
				return err
			}
			return to.undo.Replace(ctx, installed.Backend{}, to.have.Own())
		},
	}
}
