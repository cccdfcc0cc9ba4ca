package sidecar

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
)

// warn warns of each given value that changes nothing, and of each that is likely a
// mistake. Defaults give no warning.
func (r *reading) warn() {
	r.warnSelections()
	r.warnOutboundPorts()
	r.warnOwners()
	r.warnExtent()
	r.warnIPv6()
	r.warnTProxy()
	r.warnTunnel()
	r.warnDNS()
	r.warnSamePort()
	r.warnAnnotations()
}

func (r *reading) warnSelections() {
	if g := r.Given("excluded-ports"); !g.IsBlank() && !r.IncludedPorts.All {
		r.Warn("%v has no effect with %v", g, r.Given("included-ports"))
	}
	if g := r.Given("excluded-groups"); g.IsExplicit() && len(r.ExcludedGroups) > 0 && !r.IncludedGroups.All {
		r.Warn("%v has no effect with %v", g, r.Given("included-groups"))
	}
	if g := r.Given("excluded-source-cidrs"); g.IsExplicit() && len(r.ExcludedSourceCIDRs) > 0 && !r.IncludedPorts.All && len(r.IncludedPorts.Ports) == 0 {
		r.Warn("%v has no effect: nothing inbound is captured", g)
	}
	if g := r.Given("excluded-cidrs"); g.IsExplicit() && len(r.ExcludedCIDRs) > 0 && r.leavesOutbound() {
		r.Warn("%v has no effect: nothing outbound is captured", g)
	}
}

// leavesOutbound reports whether nothing outbound is captured, except perhaps DNS.
func (r *reading) leavesOutbound() bool {
	return !r.IncludedCIDRs.All && len(r.IncludedCIDRs.CIDRs) == 0 && len(r.IncludedOutboundPorts) == 0
}

func (r *reading) warnOutboundPorts() {
	include, exclude := r.Given("included-outbound-ports"), r.Given("excluded-outbound-ports")
	if len(r.IncludedOutboundPorts) > 0 && r.IncludedCIDRs.All {
		r.Warn("%v has no effect: all outbound ports are captured, because --included-cidrs is *", include)
	}
	if both := overlap(r.IncludedOutboundPorts, r.ExcludedOutboundPorts); both != "" {
		r.Warn("%v and %v both have %s: excluded ports are not captured", include, exclude, both)
	}
	ofDNS := func(p iptables.PortRange) bool { return p.Contains(dnsPort) }
	if r.leavesOutbound() && len(r.ExcludedOutboundPorts) > 0 && !(r.RedirectDNS && slices.ContainsFunc(r.ExcludedOutboundPorts, ofDNS)) {
		// The proxy's connections to the pod itself would come in again.
		r.Warn("%v exempts only connections of the proxy: nothing else outbound is captured", exclude)
	}
}

// warnOwners is about what is exempt by its sender. That includes DNS queries.
func (r *reading) warnOwners() {
	for _, o := range []struct {
		option  string
		isGiven bool
		// ofProxy are the items about the proxy.
		ofProxy string
	}{
		{option: "included-groups", isGiven: !r.IncludedGroups.All},
		{option: "excluded-groups", isGiven: r.IncludedGroups.All && len(r.ExcludedGroups) > 0, ofProxy: r.excludedProxyGroups()},
		{option: "excluded-uids", isGiven: len(r.ExcludedUIDs) > 0, ofProxy: r.excludedProxyUsers()},
	} {
		switch g := r.Given(o.option); {
		case !o.isGiven:
		case r.leavesOutbound() && !r.RedirectDNS:
			r.Warn("%v has no effect: nothing outbound is captured", g)
		case o.ofProxy != "":
			r.Warn("%v has %s, which has no effect: the proxy's own traffic is left alone anyway", g, o.ofProxy)
		}
	}
}

// excludedProxyGroups returns the excluded groups that are the proxy's.
func (r *reading) excludedProxyGroups() string {
	var own []string
	for _, gid := range r.ExcludedGroups {
		if slices.Contains(r.ProxyGIDs, gid) {
			own = append(own, number(gid))
		}
	}
	return strings.Join(own, ",")
}

// excludedProxyUsers returns the items of --excluded-uids that name only users of the
// proxy.
func (r *reading) excludedProxyUsers() string {
	var own []string
	for _, t := range r.ExcludedUIDs {
		n := uint32(0)
		for _, uid := range r.ProxyUIDs {
			if t.First <= uid && uid <= t.Last {
				n++
			}
		}
		if n == t.Last-t.First+1 {
			own = append(own, t.String())
		}
	}
	return strings.Join(own, ",")
}

// overlap returns the ports that are in both lists.
func overlap(a, b []iptables.PortRange) string {
	var both []string
	for _, x := range a {
		for _, y := range b {
			r := iptables.PortRange{First: max(x.First, y.First), Last: min(x.Last, y.Last)}
			if r.First <= r.Last {
				both = append(both, r.String())
			}
		}
	}
	return strings.Join(both, ",")
}

func (r *reading) warnIPv6() {
	if r.IPv6 != IPv6Off {
		return
	}
	is6 := func(p netip.Prefix) bool { return p.Addr().Is6() }
	if slices.ContainsFunc(r.IncludedCIDRs.CIDRs, is6) {
		r.Warn("%v has IPv6 addresses, which have no effect with %v", r.Given("included-cidrs"), r.Given("ipv6"))
	}
	if slices.ContainsFunc(r.ExcludedCIDRs, is6) {
		r.Warn("%v has IPv6 addresses, which have no effect with %v", r.Given("excluded-cidrs"), r.Given("ipv6"))
	}
	if slices.ContainsFunc(r.ExcludedSourceCIDRs, is6) {
		r.Warn("%v has IPv6 addresses, which have no effect with %v", r.Given("excluded-source-cidrs"), r.Given("ipv6"))
	}
}

func (r *reading) warnTProxy() {
	if r.Mode == ModeTProxy {
		return
	}
	for _, option := range []string{"tproxy-mark", "tproxy-table"} {
		if g := r.Given(option); g.IsExplicit() {
			r.Warn("%v has no effect: the mode is %s", g, r.Mode)
		}
	}
}

// warnTunnel warns that TPROXY captures connections to a tunnel port that the user moved,
// as in the reference. The default is not the user's choice.
func (r *reading) warnTunnel() {
	if r.Mode != ModeTProxy || r.TunnelPort == Default().TunnelPort {
		return
	}
	has := func(list []iptables.PortRange) bool {
		return slices.ContainsFunc(list, func(p iptables.PortRange) bool { return p.Contains(r.TunnelPort) })
	}
	g := r.Given("tunnel-port")
	switch {
	case r.IncludedPorts.All && !has(r.ExcludedPorts):
		r.Warn("%v does not exempt connections to that port: in mode %s --excluded-ports must name it", g, r.Mode)
	case has(r.IncludedPorts.Ports):
		r.Warn("%v does not exempt connections to that port: the mode is %s, and %v has it", g, r.Mode, r.Given("included-ports"))
	}
}

func (r *reading) warnDNS() {
	if r.RedirectDNS {
		return
	}
	if g := r.Given("capture-all-dns"); g.IsExplicit() && r.CaptureAllDNS {
		r.Warn("%v has no effect without --redirect-dns", g)
	}
	if g := r.Given("dns-port"); g.IsExplicit() {
		r.Warn("%v has no effect without --redirect-dns", g)
	}
}

func (r *reading) warnSamePort() {
	if r.InboundPort != r.OutboundPort {
		return
	}
	// The defaults differ, so at least one of them was given.
	for _, option := range []string{"inbound-port", "outbound-port"} {
		if g := r.Given(option); g.IsExplicit() {
			r.Warn("%v makes inbound and outbound port the same: the proxy cannot tell the directions apart", g)
			return
		}
	}
}

// warnAnnotations finds misspelt keys. Every key with that prefix is about capturing, and
// the API server does not check annotations.
func (r *reading) warnAnnotations() {
	for _, g := range r.UnknownAnnotations(trafficPrefix) {
		r.Warn("%v has no effect: there is no such annotation", g)
	}
}
