package native

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
)

// isTProxyGuard reports whether rule drops packets for which tproxy, the rule before it,
// finds no listener. The target TPROXY drops such packets itself
// (net/netfilter/xt_TPROXY.c). The expression leaves them to the next rule
// (nft_tproxy.c); without that they would bypass the proxy.
func isTProxyGuard(tproxy, rule rule) bool {
	if _, ok := tproxy.rule.Target.(iptables.TProxy); !ok || rule.rule.Target != iptables.Drop {
		return false
	}
	return tproxyGuard(tproxy).text() == rule.text() && tproxy.family == rule.family
}

func tproxyGuard(tproxy rule) rule {
	guard := tproxy
	guard.rule.Target = iptables.Drop
	guard.rule.Counters = iptables.Counters{}
	return guard
}

// joinTProxy makes one rule of each TPROXY and its guard. Without the guard it is not the
// model's target.
func joinTProxy(rules []rule) []rule {
	var joined []rule
	for i := 0; i < len(rules); i++ {
		r := rules[i]
		if t, ok := r.rule.Target.(iptables.TProxy); ok {
			if i+1 < len(rules) && isTProxyGuard(r, rules[i+1]) {
				i++
				r.handles = slices.Concat(r.handles, rules[i].handles)
				r.uncounted = r.uncounted || rules[i].uncounted
			} else {
				words := iptables.Rule{Target: t}.String()
				r.rule.Target = iptables.UnknownTarget{Name: expression.Unknown, Args: []string{"tproxy without a drop after it:", words}}
			}
		}
		joined = append(joined, r)
	}
	return slices.Clip(joined)
}
