package nftables

import (
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/netlink"
)

// checkKey is a table that never exists: the rules that are only checked are
// written into it.
var checkKey = tableKey{inet, "meshtables-check"}

// nativeAvailable returns nil if the kernel takes the rules in the native form.
func (b *Backend) nativeAvailable(want iptables.Ruleset) error {
	return b.connected(func(c *netlink.Conn) error {
		generation, err := c.Generation()
		if err != nil {
			return err
		}
		chains, err := nativeChains(want)
		if err != nil || len(chains) == 0 {
			return err
		}
		changes := newBatch(c, generation)
		changes.newTable(checkKey)
		p := nativePlanner{b: changes, key: checkKey, have: &nativeTable{}, want: chains}
		p.addChains()
		p.addRules()
		if changes.err != nil {
			return changes.err
		}
		return c.Check(changes.Batch)
	})
}

// nativeModules returns the modules that a rule takes, or for nil a built-in
// chain; nf_tables itself has the other expressions.
func nativeModules(r *iptables.Rule) []string {
	if r == nil {
		return []string{"nf_tables_inet", "nft_chain_nat"}
	}
	var modules []string
	for _, m := range r.Matches {
		switch m.(type) {
		case iptables.Conntrack, iptables.Connmark:
			modules = append(modules, "nft_ct")
		}
	}
	switch r.Target.(type) {
	case iptables.Redirect:
		modules = append(modules, "nft_redir")
	case iptables.TProxy:
		modules = append(modules, "nft_tproxy")
	case iptables.SaveMark, iptables.RestoreMark, iptables.CTZone:
		modules = append(modules, "nft_ct")
	}
	if len(modules) == 0 {
		return []string{"nf_tables"}
	}
	return modules
}
