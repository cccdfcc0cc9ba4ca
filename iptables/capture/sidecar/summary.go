package sidecar

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/host"
)

// Summarise implements [capture.Wanted].
func (c Config) Summarise(h host.Host, listed int) capture.Summary {
	s := summariser{
		Summariser: capture.Summariser{Listed: listed}, cfg: c, dns: planDNS(c, h), families: capturedFamilies(c, h),
		virtual: capture.Join(c.TakesFrom(h), same),
	}
	return capture.Summary{Families: s.families, Mode: string(c.Mode), Inbound: s.inbound(), Outbound: s.outbound()}
}

type summariser struct {
	capture.Summariser
	cfg      Config
	dns      dnsPlan
	families []iptables.Family
	// virtual are the interfaces of virtual machines.
	virtual string
}

func same(s string) string   { return s }
func number(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

func (s *summariser) inbound() []capture.Line {
	c := s.cfg
	s.Lines = nil
	if c.DropInvalid {
		s.Lines = append(s.Lines, capture.Line{What: "packets that connection tracking cannot place", Dropped: true, Why: "--drop-invalid"})
	}
	if c.Mode == ModeRedirect {
		s.virtualMachines()
	}
	s.ExemptList("by interface %s", "excluded-interfaces", capture.Join(c.ExcludedInterfaces, same))
	s.inboundPorts()
	if c.Mode == ModeTProxy {
		s.virtualMachines()
	}
	s.Exempt("everything else", s.inboundRest())
	return s.Lines
}

func (s *summariser) inboundPorts() {
	c := s.cfg
	if !capturesInbound(c) {
		return
	}
	if c.Mode == ModeRedirect {
		s.Exempt(fmt.Sprintf("tcp to port %d", c.TunnelPort), s.Option("tunnel-port", fmt.Sprint(c.TunnelPort)))
	}
	s.ExemptList("tcp from %s", "excluded-source-cidrs", capture.JoinPrefixes(c.ExcludedSourceCIDRs))
	if !c.IncludedPorts.All {
		ports := capture.JoinPorts(c.IncludedPorts.Ports)
		s.takeInbound("tcp to port "+s.Words(ports), s.Option("included-ports", ports))
		return
	}
	s.ExemptList("tcp to port %s", "excluded-ports", capture.JoinPorts(c.ExcludedPorts))
	s.takeInbound("all other tcp", s.Option("included-ports", "*"))
}

func (s *summariser) takeInbound(what, why string) {
	s.Lines = append(s.Lines, capture.Line{What: what, Port: s.cfg.InboundPort, TProxy: s.cfg.Mode == ModeTProxy, Why: why})
}

func (s *summariser) inboundRest() string {
	if s.cfg.IncludedPorts.All {
		return "the proxy takes tcp only"
	}
	return s.Option("included-ports", capture.JoinPorts(s.cfg.IncludedPorts.Ports))
}

func (s *summariser) virtualMachines() {
	c := s.cfg
	if s.virtual == "" {
		return
	}
	by, why := "by interface "+s.Words(s.virtual), s.Option("virtual-interfaces", capture.Join(c.VirtualInterfaces, same))
	if c.RedirectVirtualDNS {
		s.queries(" "+by, capture.OptionRedirectVirtualDNS)
	}
	switch {
	case c.IncludedCIDRs.All:
		s.Captured(c.OutboundPort, "tcp "+by, why)
	case len(c.IncludedCIDRs.CIDRs) > 0:
		s.Captured(c.OutboundPort, fmt.Sprintf("tcp %s to %s", by, s.Words(capture.JoinPrefixes(c.IncludedCIDRs.CIDRs))), why)
	}
	s.Exempt("everything else "+by, why)
}

func (s *summariser) outbound() []capture.Line {
	c := s.cfg
	s.Lines = nil
	s.ExemptList("by interface %s", "excluded-interfaces", capture.Join(c.ExcludedInterfaces, same))
	s.ExemptList("tcp and udp to port %s", "excluded-outbound-ports", capture.JoinPorts(c.ExcludedOutboundPorts))
	s.proxy()
	s.excludedUsers()
	if c.IncludedGroups.All {
		s.ExemptList("by group %s", "excluded-groups", capture.JoinIDs(c.ExcludedGroups))
	} else {
		s.ExemptList("by any group but %s", "included-groups", capture.JoinIDs(c.IncludedGroups.Groups))
	}
	s.dnsQueries()
	s.Exempt("to loopback", s.Option("loopback-cidr", c.LoopbackCIDR.String()))
	s.ExemptList("to %s", "excluded-cidrs", capture.JoinPrefixes(c.ExcludedCIDRs))
	s.destinations()
	return s.Lines
}

// proxy is about who the proxy is, on lo and elsewhere.
func (s *summariser) proxy() {
	c := s.cfg
	uids, gids := capture.JoinIDs(c.ProxyUIDs), capture.JoinIDs(c.ProxyGIDs)
	who := s.Option("proxy-uid", uids) + " " + s.Option("proxy-gid", gids)
	s.Exempt(fmt.Sprintf("from %s to the pod itself", s.passthrough()), "the proxy's connections to the application")
	self := fmt.Sprintf("user %s or group %s", s.Words(uids), s.Words(gids))
	if c.Mode == ModeRedirect && !includesLoopback(c) {
		// The rule that exempts anyone but the first user on lo comes before
		// those of the other users.
		self = fmt.Sprintf("user %d", c.ProxyUIDs[0])
	}
	s.Captured(c.InboundPort, fmt.Sprintf("tcp by %s to the pod's own address", self), who)
	if !includesLoopback(c) {
		s.Exempt("by anyone else to the pod itself", "does not leave the pod")
	}
	s.Exempt(fmt.Sprintf("by user %s or group %s", s.Words(uids), s.Words(gids)), "the proxy's: "+who)
}

// passthrough returns the addresses from which the proxy connects to the application, in
// the captured families.
func (s *summariser) passthrough() string {
	addresses := make([]string, len(s.families))
	for i, f := range s.families {
		addresses[i] = passthrough(f).Addr().String()
	}
	return strings.Join(addresses, " or ")
}

// excludedUsers adds a line for each run of users with the same kind of traffic.
func (s *summariser) excludedUsers() {
	all := s.cfg.ExcludedUIDs
	for len(all) > 0 {
		n := 1
		for n < len(all) && sameTraffic(all[n], all[0]) {
			n++
		}
		users := capture.Join(all[:n], func(t UserTraffic) string {
			return UserTraffic{First: t.First, Last: t.Last}.String()
		})
		s.Exempt(trafficWords(all[0])+"by user "+s.Words(users), s.Option("excluded-uids", capture.Join(all[:n], UserTraffic.String)))
		all = all[n:]
	}
}

// trafficWords returns the kind of traffic, such as "udp to port 53 ", or "" for all.
func trafficWords(t UserTraffic) string {
	switch {
	case t.Ports != (iptables.PortRange{}):
		return cmp.Or(string(t.Protocol), "tcp and udp") + " to port " + t.Ports.String() + " "
	case t.Protocol != "":
		return string(t.Protocol) + " "
	}
	return ""
}

func (s *summariser) dnsQueries() { s.queries("", "--redirect-dns") }

// queries adds a line about DNS queries that come some way, because of an option.
func (s *summariser) queries(way, why string) {
	if !s.dns.enabled {
		return
	}
	if s.dns.all {
		s.Captured(s.cfg.DNSPort, "DNS queries"+way, why+" --capture-all-dns")
		return
	}
	servers := slices.DeleteFunc(slices.Clone(s.dns.named), func(a netip.Addr) bool {
		return !slices.Contains(s.families, iptables.FamilyOf(a))
	})
	if len(servers) > 0 {
		s.Captured(s.cfg.DNSPort, "DNS queries"+way+" to "+s.Words(capture.Join(servers, netip.Addr.String)), why)
	}
}

func (s *summariser) destinations() {
	c := s.cfg
	if ports := capture.JoinPorts(c.IncludedOutboundPorts); ports != "" {
		s.Captured(c.OutboundPort, "tcp to port "+s.Words(ports), s.Option("included-outbound-ports", ports))
	}
	cidrs := capture.JoinPrefixes(c.IncludedCIDRs.CIDRs)
	switch {
	case c.IncludedCIDRs.All:
		s.Captured(c.OutboundPort, "all other tcp", s.Option("included-cidrs", "*"))
		s.Exempt("everything else", "the proxy takes tcp only")
		return
	case cidrs != "":
		s.Captured(c.OutboundPort, "tcp to "+s.Words(cidrs), s.Option("included-cidrs", cidrs))
	}
	s.Exempt("everything else", s.Option("included-cidrs", cidrs))
}
