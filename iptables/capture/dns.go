package capture

import (
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/host"
)

// dnsPort is where DNS servers listen (RFC 1035, section 4.2).
const dnsPort = 53

// The conntrack zones keep two conversations apart that look the same: the
// application's with the server that it asked, of which the proxy answers, and
// the proxy's with that server. In one zone their ports would collide, and
// answers would go to the wrong one of them.
const (
	upstreamZone    = 1 // between the proxy and name servers
	applicationZone = 2 // between the application and the proxy
)

// dnsPlan is which DNS queries are captured.
type dnsPlan struct {
	enabled bool
	all     bool
	named   []netip.Addr
}

// planDNS leaves DNS alone where there is nothing to capture: rules of
// one-sided zones would only cost.
func planDNS(cfg config.Config, h host.Host) dnsPlan {
	return dnsPlan{
		enabled: cfg.RedirectDNS && (cfg.CaptureAllDNS || len(h.NameServers) > 0),
		all:     cfg.CaptureAllDNS,
		named:   h.NameServers,
	}
}

// dnsServers is which DNS queries of one family are captured.
type dnsServers struct {
	// enabled tells whether DNS is captured in any family.
	enabled bool
	// prefixes are the servers whose queries are captured; one of length 0
	// stands for all servers.
	prefixes []netip.Prefix
}

func (d dnsPlan) servers(f iptables.Family) dnsServers {
	s := dnsServers{enabled: d.enabled}
	if !d.enabled {
		return s
	}
	if d.all {
		s.prefixes = []netip.Prefix{everyAddress(f)}
		return s
	}
	for _, a := range d.named {
		if iptables.FamilyOf(a) == f {
			s.prefixes = append(s.prefixes, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return s
}

// dnsOrigin is the option that made a server one whose queries are captured.
func (p *planner) dnsOrigin(server netip.Prefix) origin {
	if server.Bits() == 0 {
		return from("--capture-all-dns", "")
	}
	return from("--redirect-dns", server.Addr())
}

// dnsRedirect sends queries to the proxy's resolver.
func (p *planner) dnsRedirect(nat *iptables.Table) {
	if len(p.dns.prefixes) == 0 {
		return
	}
	nat.Append(chainOutput, from("--redirect-dns", "").rule(iptables.Jump{Chain: chainOutputDNS}))
	for _, proto := range []iptables.Protocol{iptables.TCP, iptables.UDP} {
		for _, server := range p.dns.prefixes {
			nat.Append(chainOutputDNS, p.dnsOrigin(server).rule(
				iptables.Redirect{Ports: iptables.Port(p.cfg.DNSPort)},
				destination(server), toPort(proto, dnsPort)))
		}
	}
}

// dnsZones assigns the packets of both conversations to their zones, in raw,
// before connection tracking sees them. TCP needs none: the proxy's connections
// have ports of their own.
func (p *planner) dnsZones(raw *iptables.Table) {
	why := from("--redirect-dns", "")
	raw.Append(iptables.Output, why.rule(iptables.Jump{Chain: chainOutputDNS}))
	for _, id := range p.proxyIdentities() {
		raw.Append(chainOutputDNS,
			upstream(id.origin, toPort(iptables.UDP, dnsPort), id.is),
			withApplication(id.origin, fromPort(iptables.UDP, p.cfg.DNSPort), id.is))
	}
	if len(p.dns.prefixes) == 0 {
		return
	}
	p.exemptUsersZone(raw)
	raw.Append(iptables.Prerouting, why.rule(iptables.Jump{Chain: chainInbound}))
	for _, server := range p.dns.prefixes {
		raw.Append(chainOutputDNS, withApplication(p.dnsOrigin(server), destination(server), toPort(iptables.UDP, dnsPort)))
		raw.Append(chainInbound, upstream(p.dnsOrigin(server), source(server), fromPort(iptables.UDP, dnsPort)))
	}
}

// upstream returns a rule for packets between the proxy and name servers.
func upstream(why origin, conditions ...condition) iptables.Rule {
	return because("DNS between the proxy and a server", why.rule(iptables.CTZone{Zone: upstreamZone}, conditions...))
}

// withApplication returns a rule for packets between the application and the proxy.
func withApplication(why origin, conditions ...condition) iptables.Rule {
	return because("DNS between the application and the proxy", why.rule(iptables.CTZone{Zone: applicationZone}, conditions...))
}

// exemptUsersZone puts the queries of users that do without the proxy into the zone
// that the answers come in, as those of the proxy: whoever drops what is not part of
// a known connection would drop the answers otherwise.
func (p *planner) exemptUsersZone(raw *iptables.Table) {
	for _, t := range p.cfg.ExcludedUIDs {
		if t.Protocol == iptables.TCP || t.Ports != (iptables.PortRange{}) && (t.Ports.First > dnsPort || t.Ports.Last < dnsPort) {
			continue
		}
		raw.Append(chainOutputDNS, because("in the zone that the answers come in",
			from("--excluded-uids", t).rule(iptables.CTZone{Zone: upstreamZone}, toPort(iptables.UDP, dnsPort), users(t))))
	}
}
