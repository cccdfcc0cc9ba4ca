package ambient

import (
	"github.com/meshtables/meshtables/iptables/capture"
)

// selection returns the lists that other policies have too.
func (c Config) selection() capture.Selection {
	return capture.Selection{
		IncludedPorts: c.IncludedPorts, ExcludedPorts: c.ExcludedPorts,
		IncludedOutboundPorts: c.IncludedOutboundPorts, ExcludedOutboundPorts: c.ExcludedOutboundPorts,
		IncludedCIDRs: c.IncludedCIDRs, ExcludedCIDRs: c.ExcludedCIDRs, ExcludedSourceCIDRs: c.ExcludedSourceCIDRs,
		ExcludedInterfaces: c.ExcludedInterfaces, VirtualInterfaces: c.VirtualInterfaces,
		RedirectDNS: c.capturesDNS(), RedirectVirtualDNS: c.RedirectVirtualDNS, IPv6: c.IPv6,
	}
}

// warn warns of each given value that changes nothing, and of each that is likely a
// mistake. Defaults give no warning.
func (r *reading) warn() {
	s := r.selection()
	s.WarnPorts(r.Reading)
	s.WarnCIDRs(r.Reading)
	s.WarnOutboundPorts(r.Reading)
	r.warnUnsentPorts()
	if s.SendsCaptured() {
		s.WarnEveryDestination(r.Reading)
	}
	s.WarnEveryPort(r.Reading)
	s.WarnEveryClient(r.Reading)
	s.WarnBesideEverything(r.Reading)
	capture.WarnNoLength(r.Reading, "included-cidrs", "excluded-cidrs", "excluded-source-cidrs")
	s.WarnIPv6(r.Reading)
	r.warnTunnel()
	r.warnDNS()
	s.WarnVirtualDNS(r.Reading)
	capture.WarnSamePort(r.Reading, r.InboundPort, r.OutboundPort)
}

// warnUnsentPorts warns of excluded outbound ports where nothing outbound is captured.
func (r *reading) warnUnsentPorts() {
	if r.selection().LeavesOutbound() && len(r.ExcludedOutboundPorts) > 0 && !r.RedirectDNS {
		r.Warn("%v has no effect: nothing outbound is captured", r.Given("excluded-outbound-ports"))
	}
}

// warnTunnel warns of a list of ports that has the tunnel's.
func (r *reading) warnTunnel() {
	for _, p := range r.IncludedPorts.Ports {
		if p.Contains(r.TunnelPort) {
			r.Warn("%v does not capture port %d, where the proxy accepts tunnelled connections (--tunnel-port)", r.Given("included-ports"), r.TunnelPort)
		}
	}
}

func (r *reading) warnDNS() {
	if g := r.Given("redirect-dns"); g.IsExplicit() && r.RedirectDNS && r.excludesDNS() {
		r.Warn("%v has no effect: %v has port %d", g, r.Given("excluded-outbound-ports"), dnsPort)
	}
	if r.RedirectDNS {
		return
	}
	if g := r.Given("dns-port"); g.IsExplicit() {
		r.Warn("%v has no effect without --redirect-dns", g)
	}
}
