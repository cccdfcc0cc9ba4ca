package kernel

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
)

// handover returns the rules that have to be in place for a moment while inbound
// connections change from REDIRECT to TPROXY. It is not ok if they do not.
//
// A transaction changes all tables at one moment, but a packet passes them one after the
// other, each as it is then (nft_do_chain in net/netfilter/nf_tables_core.c looks at the
// generation once for every built-in chain). Neither would take a new connection that is
// past mangle at that moment and not yet in nat. So mangle takes over first, while nat
// stays as it was, and nat changes in a transaction of its own. If both take a
// connection, it arrives redirected. The other direction needs no such step: a connection
// that mangle did not take reaches nat later.
func handover(own iptables.Ownership, have, want iptables.Ruleset) (between iptables.Ruleset, ok bool) {
	between.Tables = slices.Clone(want.Tables)
	for _, family := range iptables.Families() {
		if !takesOver(have.Table(family, iptables.Mangle), want.Table(family, iptables.Mangle)) {
			continue
		}
		old, nat := have.Table(family, iptables.Nat), between.Table(family, iptables.Nat)
		if old == nil || nat == nil {
			continue
		}
		if ours := own.OfTable(old); len(ours.Chains) > 0 {
			*nat, ok = ours, true
		}
	}
	return between, ok
}

func takesOver(have, want *iptables.Table) bool { return !hasTProxy(have) && hasTProxy(want) }

func hasTProxy(t *iptables.Table) bool {
	return t != nil && slices.ContainsFunc(t.Chains, func(c iptables.Chain) bool {
		return slices.ContainsFunc(c.Rules, func(r iptables.Rule) bool {
			_, ok := r.Target.(iptables.TProxy)
			return ok
		})
	})
}
