package sidecar

import (
	"net/netip"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/host"
)

const dnsPort = iptables.DNSPort

// The conntrack zones keep two conversations apart that look the same: the
// application's with its server, for which the proxy answers, and the proxy's with
// that server. In one zone their ports would collide, and answers would go to the
// wrong one.
const (
	upstreamZone    = 1 // between the proxy and name servers
	applicationZone = 2 // between the application and the proxy
)

// dnsPlan says which DNS queries are captured.
type dnsPlan struct {
	enabled bool
	all     bool
	named   []netip.Addr
}

// planDNS leaves DNS alone if there is nothing to capture: zones alone would only cost
// time.
func planDNS(cfg Config, h host.Host) dnsPlan {
	return dnsPlan{
		enabled: cfg.RedirectDNS && (cfg.CaptureAllDNS || len(h.NameServers) > 0),
		all:     cfg.CaptureAllDNS,
		named:   h.NameServers,
	}
}

// capturesIn reports whether queries of a family are captured.
func (d dnsPlan) capturesIn(f iptables.Family) bool {
	return d.enabled && (d.all || len(d.servers(f)) > 0)
}

// servers returns the name servers of a family.
func (d dnsPlan) servers(f iptables.Family) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(d.named), func(a netip.Addr) bool { return iptables.FamilyOf(a) != f })
}

// perServer returns a rule for the packets of captured queries: to all servers, or to
// the named ones, by the field that holds the server's address.
func (p *planner) perServer(f iptables.SetField, rule func(why capture.Origin, ofServer capture.Condition) iptables.PlannedRule) []iptables.PlannedRule {
	if p.dns.all {
		return []iptables.PlannedRule{rule(capture.From("--capture-all-dns", ""), capture.All())}
	}
	return p.perFamily(func(family iptables.Family) iptables.PlannedRule {
		servers := p.dns.servers(family)
		list := iptables.List{Field: f, Given: capture.Intervals(servers, addressInterval), Names: capture.Texts(servers, netip.Addr.String)}
		return rule(capture.FromList("--redirect-dns"), capture.Match(list))
	})
}

func addressInterval(a netip.Addr) iptables.Interval {
	return iptables.PrefixInterval(netip.PrefixFrom(a, a.BitLen()))
}

// whereCaptured returns a rule for the families whose queries are captured.
func (p *planner) whereCaptured(r iptables.PlannedRule) []iptables.PlannedRule {
	captured := slices.DeleteFunc(slices.Clone(p.families), func(f iptables.Family) bool { return !p.dns.capturesIn(f) })
	if len(captured) == len(p.families) {
		return []iptables.PlannedRule{r}
	}
	return capture.PerFamily(captured, func(iptables.Family) iptables.PlannedRule { return r })
}

// dnsRedirect sends queries to the proxy's resolver.
func (p *planner) dnsRedirect(nat *iptables.PlannedTable) {
	if !p.dns.enabled {
		return
	}
	nat.Append(chainOutput, p.whereCaptured(capture.From("--redirect-dns", "").Rule(iptables.Jump{Chain: chainOutputDNS}))...)
	for _, proto := range []iptables.Protocol{iptables.TCP, iptables.UDP} {
		nat.Append(chainOutputDNS, p.perServer(iptables.DestinationAddress, func(why capture.Origin, ofServer capture.Condition) iptables.PlannedRule {
			return why.Rule(iptables.Redirect{Ports: iptables.Port(p.cfg.DNSPort)}, ofServer, capture.ToPort(proto, dnsPort))
		})...)
	}
}

// dnsZones assigns the packets of both conversations to their zones, in raw,
// before connection tracking sees them. TCP needs none: the proxy's connections
// have ports of their own.
func (p *planner) dnsZones(raw *iptables.PlannedTable) {
	why := capture.From("--redirect-dns", "")
	raw.Append(iptables.Output, why.Rule(iptables.Jump{Chain: chainOutputDNS}))
	for _, id := range p.proxyIdentities() {
		raw.Append(chainOutputDNS, iptables.Each(
			upstream(id.rule, capture.ToPort(iptables.UDP, dnsPort)),
			withApplication(id.rule, capture.FromPort(iptables.UDP, p.cfg.DNSPort)))...)
	}
	p.exemptUsersZone(raw)
	raw.Append(iptables.Prerouting, p.whereCaptured(why.Rule(iptables.Jump{Chain: chainInbound}))...)
	raw.Append(chainOutputDNS, p.perServer(iptables.DestinationAddress, func(why capture.Origin, ofServer capture.Condition) iptables.PlannedRule {
		return withApplication(why.Rule, ofServer, capture.ToPort(iptables.UDP, dnsPort))
	})...)
	p.virtualZone(raw)
	raw.Append(chainInbound, p.perServer(iptables.SourceAddress, func(why capture.Origin, ofServer capture.Condition) iptables.PlannedRule {
		return upstream(why.Rule, ofServer, capture.FromPort(iptables.UDP, dnsPort))
	})...)
}

// fromMachines is the origin of rules about queries of virtual machines.
func fromMachines() capture.Origin { return capture.FromList(capture.OptionRedirectVirtualDNS) }

// capturesVirtual reports whether queries of virtual machines are captured.
func (p *planner) capturesVirtual() bool {
	return p.dns.enabled && p.cfg.RedirectVirtualDNS && len(p.virtual) > 0
}

// virtualQueries sends queries of virtual machines where the pod's own go. They come before
// everything else that these machines send.
func (p *planner) virtualQueries(nat *iptables.PlannedTable) {
	if p.capturesVirtual() {
		nat.Append(chainPrerouting, p.whereCaptured(fromMachines().Rule(iptables.Jump{Chain: chainOutputDNS}, p.inByVirtual()))...)
	}
}

// virtualZone puts such queries into the zone of the proxy's answers to them. It comes before
// the rule for answers of name servers: the first zone that a packet gets counts (xt_ct_target
// in net/netfilter/xt_CT.c).
func (p *planner) virtualZone(raw *iptables.PlannedTable) {
	if p.capturesVirtual() {
		raw.Append(chainInbound, p.perServer(iptables.DestinationAddress, func(_ capture.Origin, ofServer capture.Condition) iptables.PlannedRule {
			return withApplication(fromMachines().Rule, p.inByVirtual(), ofServer, capture.ToPort(iptables.UDP, dnsPort))
		})...)
	}
}

// keepVirtualQueries keeps TPROXY from such queries over TCP, which it would take for inbound
// connections.
func (p *planner) keepVirtualQueries(mangle *iptables.PlannedTable) {
	if p.capturesVirtual() {
		mangle.Append(chainPrerouting, p.perServer(iptables.DestinationAddress, func(_ capture.Origin, ofServer capture.Condition) iptables.PlannedRule {
			return fromMachines().Rule(iptables.Return, p.inByVirtual(), ofServer, capture.ToPort(iptables.TCP, dnsPort))
		})...)
	}
}

// ruleFor makes rules for somebody.
type ruleFor func(iptables.Target, ...capture.Condition) iptables.PlannedRule

// upstream returns a rule for packets between the proxy and name servers.
func upstream(rule ruleFor, conditions ...capture.Condition) iptables.PlannedRule {
	return capture.Because("DNS between the proxy and a server", rule(iptables.CTZone{Zone: upstreamZone}, conditions...))
}

// withApplication returns a rule for packets between the application and the proxy.
func withApplication(rule ruleFor, conditions ...capture.Condition) iptables.PlannedRule {
	return capture.Because("DNS between the application and the proxy", rule(iptables.CTZone{Zone: applicationZone}, conditions...))
}

// exemptUsersZone puts the queries of exempt users into the zone that the answers come
// in, like the proxy's. Otherwise a rule that drops packets of unknown connections
// would drop the answers.
func (p *planner) exemptUsersZone(raw *iptables.PlannedTable) {
	var queries []UserTraffic
	for _, t := range p.cfg.ExcludedUIDs {
		if t.Protocol != iptables.TCP && (t.Ports == (iptables.PortRange{}) || t.Ports.Contains(dnsPort)) {
			queries = append(queries, t)
		}
	}
	rule := capture.Because("in the zone that the answers come in", capture.FromList(optionExcludedUIDs).Rule(
		iptables.CTZone{Zone: upstreamZone}, capture.ToPort(iptables.UDP, dnsPort), capture.Match(userList(queries))))
	raw.Append(chainOutputDNS, capture.Listed(p.whereCaptured(rule)...)...)
}
