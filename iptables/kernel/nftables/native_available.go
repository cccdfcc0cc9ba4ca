package nftables

import (
	"github.com/meshtables/meshtables/iptables"
	"golang.org/x/sys/unix"
)

// checkKey is a table that never exists: the rules that are only checked are
// written into it.
var checkKey = tableKey{inet, "meshtables-check"}

// nativeAvailable returns nil if the kernel takes the rules in the native form.
func (b *Backend) nativeAvailable(want iptables.Ruleset) error {
	return b.connected(func(c *conn) error {
		generation, err := c.generation()
		if err != nil {
			return err
		}
		chains, err := nativeChains(want)
		if err != nil || len(chains) == 0 {
			return err
		}
		changes := newBatch(c.sequence+1, generation)
		changes.newTable(checkKey)
		p := nativePlanner{b: changes, key: checkKey, have: &nativeTable{}, want: chains}
		p.addChains()
		p.addRules()
		if changes.err != nil {
			return changes.err
		}
		return c.check(changes)
	})
}

// check sends a batch without its end, which the kernel works through as any
// other, loading modules where it has to, and then takes back: nothing of it ever
// is in force, and the generation stays (nfnetlink_rcv_batch in
// net/netfilter/nfnetlink.c, NFNL_ABORT_VALIDATE). nft --check does the same.
func (c *conn) check(b *batch) error {
	b.acknowledge()
	c.sequence = b.last
	if err := c.send(b.buf); err != nil {
		return err
	}
	for {
		answer, err := c.receive()
		if err == unix.ENOBUFS {
			continue
		}
		if err != nil {
			return err
		}
		for m, err := range messages(answer) {
			if err != nil {
				return err
			}
			if m.kind != unix.NLMSG_ERROR || !b.has(m.sequence) {
				continue
			}
			if errno, explanation := m.error(); errno != 0 {
				return kernelError(b.operation(m.sequence), errno, explanation, nil)
			}
			if m.sequence == b.last {
				return nil
			}
		}
	}
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
