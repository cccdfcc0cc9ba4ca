package ambient

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
)

const dnsPort = iptables.DNSPort

const optionRedirectDNS = "--redirect-dns"

// upstreamZone is the conntrack zone between the proxy and name servers. It keeps the
// proxy's queries apart from the application's, for which the proxy answers: in one zone
// their ports could collide, and answers would go to the wrong one.
const upstreamZone = 1

// capturesDNS reports whether DNS queries are captured: to every server, unless their port
// is excluded.
func (c Config) capturesDNS() bool { return c.RedirectDNS && !c.excludesDNS() }

func (c Config) excludesDNS() bool {
	return slices.ContainsFunc(c.ExcludedOutboundPorts, func(p iptables.PortRange) bool { return p.Contains(dnsPort) })
}

// dnsQueries sends queries to the proxy's resolver.
func (p *planner) dnsQueries(nat *iptables.PlannedTable) {
	if !p.cfg.RedirectDNS {
		return
	}
	why, to := capture.From(optionRedirectDNS, ""), redirect(p.cfg.DNSPort)
	// A resolver in the pod is reached by lo.
	nat.Append(chainOutput, why.Rule(to, capture.NotOut(capture.LoopbackInterface), p.notProxys(), capture.ToPort(iptables.UDP, dnsPort)))
	nat.Append(chainOutput, p.perFamily(func(f iptables.Family) iptables.PlannedRule {
		return why.Rule(to, capture.NotToAddress(loopback(f)), capture.ToPort(iptables.TCP, dnsPort), p.notProxys())
	})...)
}

// virtualQueries sends queries of virtual machines where the pod's own go. They are in no
// zone, like the proxy's answers to them.
func (p *planner) virtualQueries(nat *iptables.PlannedTable) {
	if !p.cfg.capturesDNS() || !p.cfg.RedirectVirtualDNS {
		return
	}
	why, to := capture.FromList(capture.OptionRedirectVirtualDNS), redirect(p.cfg.DNSPort)
	for _, proto := range []iptables.Protocol{iptables.TCP, iptables.UDP} {
		nat.Append(chainPrerouting, capture.Listed(why.Rule(to, p.inByVirtual(), capture.ToPort(proto, dnsPort)))...)
	}
}

// zones assigns the packets of the proxy's queries and their answers to a zone, in raw,
// before connection tracking sees them. TCP needs none: the proxy's connections have ports
// of their own. The application's queries that are not captured are in no zone, so their
// answers must not be either: those by an excluded interface, and all if their port is
// excluded.
func (p *planner) zones(raw *iptables.PlannedTable) {
	why, zone := capture.From(optionRedirectDNS, ""), iptables.CTZone{Zone: upstreamZone}
	raw.Append(chainOutput, p.skippedInterfaces(iptables.OutInterface)...)
	raw.Append(chainOutput, capture.Because("DNS between the proxy and a server",
		why.Rule(zone, capture.Match(p.cfg.proxys()), capture.ToPort(iptables.UDP, dnsPort))))
	raw.Append(chainPrerouting, p.skippedInterfaces(iptables.InInterface)...)
	raw.Append(chainPrerouting, capture.Because("DNS between the proxy and a server",
		why.Rule(zone, p.notProxys(), capture.FromPort(iptables.UDP, dnsPort))))
}
