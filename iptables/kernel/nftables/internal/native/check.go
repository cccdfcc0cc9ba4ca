package native

import (
	"context"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
)

// Check returns nil if the kernel accepts the rules; see [tables.Check].
func Check(ctx context.Context, c *netlink.Conn, want iptables.Ruleset) error {
	chains, err := wantedChains(want)
	if err != nil {
		return err
	}
	return tables.Check(ctx, c, func(changes *tables.Changes) {
		if len(chains) == 0 {
			return
		}
		key := tables.Key{Family: tables.Inet, Name: tables.CheckName}
		changes.NewTable(key)
		p := planner{b: changes, key: key}
		for _, s := range setsOf(want) {
			newNamedSet(changes, key, s)
		}
		p.make(&Table{}, chains)
	})
}

// Modules returns the kernel modules that a rule needs or, for nil, a built-in chain.
// nf_tables itself has the other expressions.
func Modules(r *iptables.Rule) []string {
	if r == nil {
		return []string{"nf_tables", "nft_chain_nat"}
	}
	var modules []string
	for _, m := range r.Matches {
		switch m.(type) {
		case iptables.Conntrack, iptables.Connmark:
			modules = append(modules, "nft_ct")
		}
	}
	switch r.Target.(type) {
	case iptables.SNAT:
		modules = append(modules, "nft_nat")
	case iptables.Redirect:
		modules = append(modules, "nft_redir")
	case iptables.TProxy:
		modules = append(modules, "nft_tproxy")
	case iptables.SetConnmark, iptables.SaveMark, iptables.RestoreMark, iptables.CTZone:
		modules = append(modules, "nft_ct")
	}
	if len(modules) == 0 {
		return []string{"nf_tables"}
	}
	return modules
}
