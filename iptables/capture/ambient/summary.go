package ambient

import (
	"fmt"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/host"
)

// Summarise implements [capture.Wanted].
func (c Config) Summarise(h host.Host, listed int) capture.Summary {
	in := summariser{capture.Summariser{Listed: listed}, c, c.families(h), capture.Join(c.TakesFrom(h), same)}
	out := in
	in.inbound()
	out.outbound()
	return capture.Summary{Families: in.families, Mode: "ambient", Inbound: in.Lines, Outbound: out.Lines}
}

type summariser struct {
	capture.Summariser
	Config
	families []iptables.Family
	// virtual are the interfaces of virtual machines.
	virtual string
}

func same(s string) string { return s }

func (s *summariser) inbound() {
	s.virtualMachines()
	if s.capturesInbound() {
		s.ExemptList("by interface %s", "excluded-interfaces", capture.Join(s.ExcludedInterfaces, same))
		s.probes("from")
		s.ExemptList("tcp from %s", "excluded-source-cidrs", capture.JoinPrefixes(s.ExcludedSourceCIDRs))
		s.ports()
	}
	s.Exempt("everything else", s.inboundRest())
}

func (s *summariser) ports() {
	if s.IncludedPorts.All {
		s.ExemptList("tcp to port %s", "excluded-ports", capture.JoinPorts(s.ExcludedPorts))
	}
	s.Exempt("to loopback", "is the pod itself")
	s.Exempt(fmt.Sprintf("tcp to port %d", s.TunnelPort), s.Option("tunnel-port", fmt.Sprint(s.TunnelPort)))
	s.proxy()
	if s.IncludedPorts.All {
		s.Captured(s.InboundPort, "all other tcp", s.Option("included-ports", "*"))
		return
	}
	ports := capture.JoinPorts(s.IncludedPorts.Ports)
	s.Captured(s.InboundPort, "tcp to port "+s.Words(ports), s.Option("included-ports", ports))
}

func (s *summariser) inboundRest() string {
	if s.IncludedPorts.All {
		return "the proxy takes tcp only"
	}
	return s.Option("included-ports", capture.JoinPorts(s.IncludedPorts.Ports))
}

// probes adds a line about the node's health probes, which are from its address, or answered
// to it.
func (s *summariser) probes(side string) {
	addresses := make([]string, len(s.families))
	for i, f := range s.families {
		addresses[i] = s.HostProbe.Of(f).String()
	}
	s.Exempt(fmt.Sprintf("tcp %s %s", side, strings.Join(addresses, " or ")), "the node's health probes: --host-probe-address")
}

func (s *summariser) proxy() {
	s.Exempt(fmt.Sprintf("marked %v", s.ProxyMark), "the proxy's: "+s.Option("proxy-mark", s.ProxyMark.String()))
}

func (s *summariser) virtualMachines() {
	if s.virtual == "" {
		return
	}
	by, why := "by interface "+s.Words(s.virtual), s.Option("virtual-interfaces", capture.Join(s.VirtualInterfaces, same))
	if s.capturesDNS() && s.RedirectVirtualDNS {
		s.Captured(s.DNSPort, "DNS queries "+by, capture.OptionRedirectVirtualDNS)
	}
	switch {
	case s.IncludedCIDRs.All:
		s.Captured(s.OutboundPort, "tcp "+by, why)
	case len(s.IncludedCIDRs.CIDRs) > 0:
		s.Captured(s.OutboundPort, fmt.Sprintf("tcp %s to %s", by, s.Words(capture.JoinPrefixes(s.IncludedCIDRs.CIDRs))), why)
	}
	s.Exempt("everything else "+by, why)
}

func (s *summariser) outbound() {
	s.ExemptList("by interface %s", "excluded-interfaces", capture.Join(s.ExcludedInterfaces, same))
	s.ExemptList("tcp and udp to port %s", "excluded-outbound-ports", capture.JoinPorts(s.ExcludedOutboundPorts))
	s.probes("to")
	s.proxy()
	s.Exempt("to loopback", "is the pod itself")
	if s.capturesDNS() {
		s.Captured(s.DNSPort, "DNS queries by tcp, and by udp to other machines", "--redirect-dns")
	}
	s.Exempt(fmt.Sprintf("tcp marked %v", s.ConnectionMark), "answers to the proxy: "+s.Option("connection-mark", s.ConnectionMark.String()))
	s.Exempt("to the pod itself", "does not leave the pod")
	s.ExemptList("to %s", "excluded-cidrs", capture.JoinPrefixes(s.ExcludedCIDRs))
	s.destinations()
}

func (s *summariser) destinations() {
	if ports := capture.JoinPorts(s.IncludedOutboundPorts); ports != "" {
		s.Captured(s.OutboundPort, "tcp to port "+s.Words(ports), s.Option("included-outbound-ports", ports))
	}
	cidrs := capture.JoinPrefixes(s.IncludedCIDRs.CIDRs)
	switch {
	case s.IncludedCIDRs.All:
		s.Captured(s.OutboundPort, "all other tcp", s.Option("included-cidrs", "*"))
		s.Exempt("everything else", "the proxy takes tcp only")
		return
	case cidrs != "":
		s.Captured(s.OutboundPort, "tcp to "+s.Words(cidrs), s.Option("included-cidrs", cidrs))
	}
	s.Exempt("everything else", s.Option("included-cidrs", cidrs))
}
