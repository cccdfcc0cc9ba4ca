package ambient

import (
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
)

// Proxies returns the proxy of which the rules of a family know the mark. It is root: to mark
// packets takes CAP_NET_ADMIN (sk_setsockopt in net/core/sock.c), and no rule of the policy
// asks for its user.
func (Policy) Proxies(rules *iptables.Ruleset, f iptables.Family) []explain.Proxy {
	t := rules.Table(f, iptables.Mangle)
	if t == nil {
		return nil
	}
	c := t.Chain(chainPrerouting)
	if c == nil {
		return nil
	}
	var r recogniser
	r.marks(c.Rules)
	if r.cfg.ProxyMark.Value == 0 {
		return nil
	}
	return []explain.Proxy{{Owner: &iptables.SocketOwner{}, Mark: r.cfg.ProxyMark.Value}}
}

// Source returns no address: the proxy connects to the application from the client's.
func (Policy) Source(iptables.Family) netip.Addr { return netip.Addr{} }
