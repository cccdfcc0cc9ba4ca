package compat

import (
	"context"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/internal/userns"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// CheckOwners returns nil if the kernel accepts the rules' matches on users and groups.
// It does so only from the user namespace that owns the network namespace (owner_check in
// net/netfilter/xt_owner.c). From another one the kernel has to check them; see
// [tables.Check]. That takes some milliseconds, because it waits for all packets on their
// way.
func CheckOwners(ctx context.Context, c *netlink.Conn, ns *namespace.Namespace, rs iptables.Ruleset) error {
	if owner, err := userns.OwnerOf(ns.File()); err == nil && userns.IsOf(userns.Thread, owner) {
		return nil
	}
	return tables.Check(ctx, c, func(changes *tables.Changes) {
		const chain = "owners"
		for _, f := range iptables.Families() {
			key := tables.Key{Family: f, Name: tables.CheckName}
			for i, m := range owners(rs, f) {
				if i == 0 {
					changes.NewTable(key)
					changes.NewChain(key, chain)
				}
				AppendRule(changes, key, chain, &iptables.Rule{Matches: []iptables.Match{m}})
			}
		}
	})
}

// owners returns the matches on users and groups in the rules of a family, each once.
func owners(rs iptables.Ruleset, f iptables.Family) []iptables.Owner {
	var list []iptables.Owner
	for _, t := range rs.Tables {
		if t.Family != f {
			continue
		}
		for _, c := range t.Chains {
			for _, r := range c.Rules {
				for _, m := range r.Matches {
					if o, ok := m.(iptables.Owner); ok && !slices.Contains(list, o) {
						list = append(list, o)
					}
				}
			}
		}
	}
	return list
}
