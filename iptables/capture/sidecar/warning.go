package sidecar

import (
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
)

// selection returns the lists that other policies have too.
func (c Config) selection() capture.Selection {
	return capture.Selection{
		IncludedPorts: c.IncludedPorts, ExcludedPorts: c.ExcludedPorts,
		IncludedOutboundPorts: c.IncludedOutboundPorts, ExcludedOutboundPorts: c.ExcludedOutboundPorts,
		IncludedCIDRs: c.IncludedCIDRs, ExcludedCIDRs: c.ExcludedCIDRs, ExcludedSourceCIDRs: c.ExcludedSourceCIDRs,
		ExcludedInterfaces: c.ExcludedInterfaces, VirtualInterfaces: c.VirtualInterfaces,
		RedirectDNS: c.RedirectDNS, RedirectVirtualDNS: c.RedirectVirtualDNS, IPv6: c.IPv6,
	}
}

// warn warns of each given value that changes nothing, and of each that is likely a
// mistake. Defaults give no warning.
func (r *reading) warn() {
	s := r.selection()
	s.WarnPorts(r.Reading)
	r.warnExcludedGroups()
	s.WarnCIDRs(r.Reading)
	s.WarnOutboundPorts(r.Reading)
	r.warnProxysPorts()
	r.warnOwners()
	r.warnExtent()
	s.WarnIPv6(r.Reading)
	r.warnTProxy()
	r.warnTunnel()
	r.warnDNS()
	s.WarnVirtualDNS(r.Reading)
	capture.WarnSamePort(r.Reading, r.InboundPort, r.OutboundPort)
	r.warnAnnotations()
}

func (r *reading) warnExcludedGroups() {
	if g := r.Given("excluded-groups"); g.IsExplicit() && len(r.ExcludedGroups) > 0 && !r.IncludedGroups.All {
		r.Warn("%v has no effect with %v", g, r.Given("included-groups"))
	}
}

// warnProxysPorts warns of excluded outbound ports where nothing outbound is captured: the
// proxy's connections to the pod itself would come in again.
func (r *reading) warnProxysPorts() {
	ofDNS := func(p iptables.PortRange) bool { return p.Contains(dnsPort) }
	if r.selection().LeavesOutbound() && len(r.ExcludedOutboundPorts) > 0 && !(r.RedirectDNS && slices.ContainsFunc(r.ExcludedOutboundPorts, ofDNS)) {
		r.Warn("%v exempts only connections of the proxy: nothing else outbound is captured", r.Given("excluded-outbound-ports"))
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
		case r.selection().LeavesOutbound() && !r.RedirectDNS:
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

// warnAnnotations finds misspelt keys. Every key with these prefixes is about capturing, and
// the API server does not check annotations.
func (r *reading) warnAnnotations() {
	for _, prefix := range []string{capture.Prefix, trafficPrefix} {
		for _, g := range r.UnknownAnnotations(prefix, capture.SandboxedPod) {
			r.Warn("%v has no effect: there is no such annotation", g)
		}
	}
}
