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
	s := summariser{cfg: c, dns: planDNS(c, h), families: capturedFamilies(c, h), listed: listed}
	return capture.Summary{Families: s.families, Mode: string(c.Mode), Inbound: s.inbound(), Outbound: s.outbound()}
}

type summariser struct {
	cfg      Config
	dns      dnsPlan
	families []iptables.Family
	listed   int
	lines    []capture.Line
}

func (s *summariser) captured(port uint16, what, why string) {
	s.lines = append(s.lines, capture.Line{What: what, Port: port, Why: why})
}

func (s *summariser) exempt(what, why string) { s.captured(0, what, why) }

// option returns an option with its value, as a user gives it.
func (s *summariser) option(name, items string) string { return "--" + name + "=" + s.short(items) }

// exemptList adds a line if a list has items. what is the format for them.
func (s *summariser) exemptList(what, name, items string) {
	if items != "" {
		s.exempt(fmt.Sprintf(what, s.words(items)), s.option(name, items))
	}
}

// words separates the items of a list for a reader.
func (s *summariser) words(items string) string {
	return strings.ReplaceAll(s.short(items), ",", ", ")
}

// short returns a list, or the beginning of a long one.
func (s *summariser) short(items string) string {
	if s.listed == 0 {
		return items
	}
	return iptables.ShortList(strings.Split(items, ","), s.listed)
}

func join[T any](items []T, print func(T) string) string {
	return strings.Join(texts(items, print), ",")
}

func texts[T any](items []T, print func(T) string) []string {
	all := make([]string, len(items))
	for i, x := range items {
		all[i] = print(x)
	}
	return all
}

func same(s string) string                    { return s }
func number(n uint32) string                  { return strconv.FormatUint(uint64(n), 10) }
func prefixes(p []netip.Prefix) string        { return join(p, netip.Prefix.String) }
func joinPorts(p []iptables.PortRange) string { return join(p, iptables.PortRange.String) }

func (s *summariser) inbound() []capture.Line {
	c := s.cfg
	s.lines = nil
	if c.DropInvalid {
		s.lines = append(s.lines, capture.Line{What: "packets that connection tracking cannot place", Dropped: true, Why: "--drop-invalid"})
	}
	if c.Mode == ModeRedirect {
		s.virtualMachines()
	}
	s.exemptList("by interface %s", "excluded-interfaces", join(c.ExcludedInterfaces, same))
	s.inboundPorts()
	if c.Mode == ModeTProxy {
		s.virtualMachines()
	}
	s.exempt("everything else", s.inboundRest())
	return s.lines
}

func (s *summariser) inboundPorts() {
	c := s.cfg
	if !capturesInbound(c) {
		return
	}
	if c.Mode == ModeRedirect {
		s.exempt(fmt.Sprintf("tcp to port %d", c.TunnelPort), s.option("tunnel-port", fmt.Sprint(c.TunnelPort)))
	}
	s.exemptList("tcp from %s", "excluded-source-cidrs", prefixes(c.ExcludedSourceCIDRs))
	if !c.IncludedPorts.All {
		ports := joinPorts(c.IncludedPorts.Ports)
		s.takeInbound("tcp to port "+s.words(ports), s.option("included-ports", ports))
		return
	}
	s.exemptList("tcp to port %s", "excluded-ports", joinPorts(c.ExcludedPorts))
	s.takeInbound("all other tcp", s.option("included-ports", "*"))
}

func (s *summariser) takeInbound(what, why string) {
	s.lines = append(s.lines, capture.Line{What: what, Port: s.cfg.InboundPort, TProxy: s.cfg.Mode == ModeTProxy, Why: why})
}

func (s *summariser) inboundRest() string {
	if s.cfg.IncludedPorts.All {
		return "the proxy takes tcp only"
	}
	return s.option("included-ports", joinPorts(s.cfg.IncludedPorts.Ports))
}

func (s *summariser) virtualMachines() {
	c := s.cfg
	if len(c.VirtualInterfaces) == 0 {
		return
	}
	names := join(c.VirtualInterfaces, same)
	why := s.option("virtual-interfaces", names)
	switch {
	case c.IncludedCIDRs.All:
		s.captured(c.OutboundPort, "tcp by interface "+s.words(names), why)
	case len(c.IncludedCIDRs.CIDRs) > 0:
		s.captured(c.OutboundPort, fmt.Sprintf("tcp by interface %s to %s", s.words(names), s.words(prefixes(c.IncludedCIDRs.CIDRs))), why)
	}
	s.exempt("everything else by interface "+s.words(names), why)
}

func (s *summariser) outbound() []capture.Line {
	c := s.cfg
	s.lines = nil
	s.exemptList("by interface %s", "excluded-interfaces", join(c.ExcludedInterfaces, same))
	s.exemptList("tcp and udp to port %s", "excluded-outbound-ports", joinPorts(c.ExcludedOutboundPorts))
	s.proxy()
	s.excludedUsers()
	if c.IncludedGroups.All {
		s.exemptList("by group %s", "excluded-groups", join(c.ExcludedGroups, number))
	} else {
		s.exemptList("by any group but %s", "included-groups", join(c.IncludedGroups.Groups, number))
	}
	s.dnsQueries()
	s.exempt("to loopback", s.option("loopback-cidr", c.LoopbackCIDR.String()))
	s.exemptList("to %s", "excluded-cidrs", prefixes(c.ExcludedCIDRs))
	s.destinations()
	return s.lines
}

// proxy is about who the proxy is, on lo and elsewhere.
func (s *summariser) proxy() {
	c := s.cfg
	uids, gids := join(c.ProxyUIDs, number), join(c.ProxyGIDs, number)
	who := s.option("proxy-uid", uids) + " " + s.option("proxy-gid", gids)
	s.exempt(fmt.Sprintf("from %s to the pod itself", s.passthrough()), "the proxy's connections to the application")
	self := fmt.Sprintf("user %s or group %s", s.words(uids), s.words(gids))
	if c.Mode == ModeRedirect && !includesLoopback(c) {
		// The rule that exempts anyone but the first user on lo comes before
		// those of the other users.
		self = fmt.Sprintf("user %d", c.ProxyUIDs[0])
	}
	s.captured(c.InboundPort, fmt.Sprintf("tcp by %s to the pod's own address", self), who)
	if !includesLoopback(c) {
		s.exempt("by anyone else to the pod itself", "does not leave the pod")
	}
	s.exempt(fmt.Sprintf("by user %s or group %s", s.words(uids), s.words(gids)), "the proxy's: "+who)
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
		users := join(all[:n], func(t UserTraffic) string {
			return UserTraffic{First: t.First, Last: t.Last}.String()
		})
		s.exempt(trafficWords(all[0])+"by user "+s.words(users), s.option("excluded-uids", join(all[:n], UserTraffic.String)))
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

func (s *summariser) dnsQueries() {
	if !s.dns.enabled {
		return
	}
	if s.dns.all {
		s.captured(s.cfg.DNSPort, "DNS queries", "--redirect-dns --capture-all-dns")
		return
	}
	servers := slices.DeleteFunc(slices.Clone(s.dns.named), func(a netip.Addr) bool {
		return !slices.Contains(s.families, iptables.FamilyOf(a))
	})
	if len(servers) > 0 {
		s.captured(s.cfg.DNSPort, "DNS queries to "+s.words(join(servers, netip.Addr.String)), "--redirect-dns")
	}
}

func (s *summariser) destinations() {
	c := s.cfg
	if ports := joinPorts(c.IncludedOutboundPorts); ports != "" {
		s.captured(c.OutboundPort, "tcp to port "+s.words(ports), s.option("included-outbound-ports", ports))
	}
	cidrs := prefixes(c.IncludedCIDRs.CIDRs)
	switch {
	case c.IncludedCIDRs.All:
		s.captured(c.OutboundPort, "all other tcp", s.option("included-cidrs", "*"))
		s.exempt("everything else", "the proxy takes tcp only")
		return
	case cidrs != "":
		s.captured(c.OutboundPort, "tcp to "+s.words(cidrs), s.option("included-cidrs", cidrs))
	}
	s.exempt("everything else", s.option("included-cidrs", cidrs))
}
