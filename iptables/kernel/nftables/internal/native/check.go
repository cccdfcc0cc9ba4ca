package native

import (
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
)

// checkKey is a table that never exists: the rules that are only checked are
// written into it.
var checkKey = tables.Key{Family: tables.Inet, Name: "meshtables-check"}

// Check returns nil if the kernel takes the rules. It has the kernel check them
// without taking them; see [netlink.Conn.Check].
func Check(c *netlink.Conn, want iptables.Ruleset) error {
	generation, err := c.Generation()
	if err != nil {
		return err
	}
	chains, err := wantedChains(want)
	if err != nil || len(chains) == 0 {
		return err
	}
	changes := tables.NewChanges(c, generation)
	changes.NewTable(checkKey)
	p := planner{b: changes, key: checkKey, have: &Table{}, want: chains}
	p.addChains()
	p.addRules()
	if err := changes.Err(); err != nil {
		return err
	}
	return c.Check(changes.Batch)
}

// Modules returns the modules that a rule takes, or for nil a built-in
// chain; nf_tables itself has the other expressions.
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
