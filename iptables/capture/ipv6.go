package capture

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/host"
)

// IPv6 says whether IPv6 is captured.
type IPv6 string

// The values of --ipv6. Auto captures IPv6 if the namespace has an address that
// other machines can reach.
const (
	IPv6Auto IPv6 = "auto"
	IPv6On   IPv6 = "on"
	IPv6Off  IPv6 = "off"
)

// Families returns the captured families of a namespace, for a policy that owns some of it.
func (v IPv6) Families(h host.Host, own iptables.Ownership) []iptables.Family {
	if v.isCaptured(h, own) {
		return []iptables.Family{iptables.IPv4, iptables.IPv6}
	}
	return []iptables.Family{iptables.IPv4}
}

// isCaptured reports whether to write rules for IPv6. Auto does if any interface has
// an address that another machine could use: without rules it would be a way around the
// proxy. Link-local addresses do not count, because every interface has one as soon as
// the kernel knows IPv6.
func (v IPv6) isCaptured(h host.Host, own iptables.Ownership) bool {
	switch v {
	case IPv6On:
		return true
	case IPv6Off:
		return false
	}
	return slices.ContainsFunc(h.Addresses, func(p netip.Prefix) bool {
		a := p.Addr()
		return a.Is6() && own.IsReachable(a)
	})
}

// Found returns whether IPv6 is captured, and why, as a line of [Wanted.Found].
func (v IPv6) Found(h host.Host, own iptables.Ownership) string {
	switch {
	case v == IPv6On:
		return "IPv6: captured (--ipv6=on)"
	case v == IPv6Off:
		return "IPv6: not captured (--ipv6=off)"
	case v.isCaptured(h, own):
		return "IPv6: captured: the namespace has a global IPv6 address (--ipv6=auto)"
	}
	return "IPv6: not captured: the namespace has no global IPv6 address (--ipv6=auto)"
}

// ApplyDualStack lets --dual-stack turn IPv6 on. If it is not set, that does not turn
// IPv6 off.
func ApplyDualStack(r *config.Reading, on bool, v *IPv6) {
	dual, ipv6 := r.Given("dual-stack"), r.Given("ipv6")
	if !on || dual.Authority < ipv6.Authority {
		return
	}
	if dual.Authority == ipv6.Authority && *v == IPv6Off {
		r.Fail(fmt.Errorf("%v and %v: must not contradict each other", ipv6, dual))
		return
	}
	*v = IPv6On
}
