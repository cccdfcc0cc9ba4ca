package kernel

import (
	"context"

	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel/nftables"
)

// recorded returns the record that the choice leaves. Only rules written over netlink have
// one: programs write nothing but rules, and nf_tables may not be there.
func (c *Choice) recorded() installed.Records {
	if _, over := c.Backend.(*nftables.Backend); over {
		return c.Records
	}
	return nil
}

// recording returns the chosen backend with its content. If it is over netlink, rules and
// record change in one transaction.
func recording(choice *Choice, found *Installed) holding {
	h := newHolding(choice.Backend, found.Backend(FormOf(choice.Backend)))
	if over, ok := choice.Backend.(*nftables.Backend); ok {
		h.Backend = over.Recording(choice.recorded()).Holding(choice.held)
		h.undo = over.Recording(found.Records).Holding(h.have.Sets)
	}
	return h
}

// record returns the step that changes a record alone, if the rules do not change with it.
func record(choice *Choice, found *Installed) []step {
	have, before, after := found.Backend(FormOf(choice.Backend)), found.Records, choice.recorded()
	_, over := choice.Backend.(*nftables.Backend)
	if len(before) == 0 || before.Equal(after) || over && !have.Has(&choice.Rules) {
		return nil
	}
	backend := nftables.New(found.namespace, found.Ownership)
	return []step{{
		do: func(ctx context.Context) error {
			return backend.Record(ctx, installed.Backend{Token: found.Token}, after)
		},
		undo: func(ctx context.Context) error { return backend.Record(ctx, installed.Backend{}, before) },
	}}
}
