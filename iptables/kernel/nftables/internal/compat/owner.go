package compat

import (
	"fmt"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/userns"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
)

// checkName is that of a table, and a chain in it, that never exist: the rules that
// are only checked are written into them.
const checkName = "meshtables-check"

// CheckOwners returns nil if the kernel takes the rules' matches on users and groups.
// It does so only from the user namespace that owns the network namespace (owner_check
// in net/netfilter/xt_owner.c). From another one it is made to check them without
// taking them; see [netlink.Conn.Check]. That takes some milliseconds, because it waits
// for all packets that are on their way.
func CheckOwners(c *netlink.Conn, rs iptables.Ruleset) error {
	if owner, err := userns.Owner(); err == nil && userns.IsOf(userns.Thread, owner) {
		return nil
	}
	generation, err := c.Generation()
	if err != nil {
		return err
	}
	changes := tables.NewChanges(c, generation)
	for _, f := range iptables.Families() {
		key := tables.Key{Family: f, Name: checkName}
		for i, m := range owners(rs, f) {
			if i == 0 {
				changes.NewTable(key)
				changes.NewChain(key, checkName)
			}
			AppendRule(changes, key, checkName, &iptables.Rule{Matches: []iptables.Match{m}})
		}
	}
	if changes.Empty() {
		return nil
	}
	if err := changes.Err(); err != nil {
		return fmt.Errorf("failed to check the owners: %w", err)
	}
	return c.Check(changes.Batch)
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
