package capture

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/config"
)

// natOutput writes OUTPUT and ISTIO_OUTPUT of nat. The first rule that decides
// wins, so the order is the policy.
func (p *planner) natOutput(nat *iptables.Table) {
	nat.Append(iptables.Output, builtIn("outbound").rule(iptables.Jump{Chain: chainOutput}))
	p.skipInterfaces(nat, chainOutput, out)
	p.excludedOutboundPorts(nat)
	// The proxy's own connections to the application.
	nat.Append(chainOutput, builtIn("passthrough source").rule(iptables.Return,
		source(p.passthrough), out(loopbackInterface)))
	for _, id := range p.proxyIdentities() {
		p.proxyTraffic(nat, id)
	}
	p.excludedUsers(nat)
	p.ownerGroups(nat)
	p.dnsRedirect(nat)
	nat.Append(chainOutput, p.loopbackOrigin().rule(iptables.Return, destination(p.loopback)))
	p.outboundDestinations(nat)
}

func (p *planner) loopbackOrigin() origin {
	if p.family == iptables.IPv6 {
		return builtIn("loopback")
	}
	return from("--loopback-cidr", p.loopback)
}

// excludedOutboundPorts come before everything else: a port that is excluded is
// so for the proxy and for DNS too.
func (p *planner) excludedOutboundPorts(nat *iptables.Table) {
	for _, port := range p.cfg.ExcludedOutboundPorts {
		why := from("--excluded-outbound-ports", port)
		nat.Append(chainOutput,
			why.rule(iptables.Return, toPorts(iptables.TCP, port)),
			why.rule(iptables.Return, toPorts(iptables.UDP, port)))
	}
}

// proxyTraffic writes what one user or group of the proxy has an effect on.
func (p *planner) proxyTraffic(nat *iptables.Table, id identity) {
	// The application calls itself by its service's address: the proxy, having
	// chosen this pod, comes out to the pod's own address and must come in
	// again as any other peer would. The tunnel port is the proxy's own. With
	// DNS capture the proxy's queries to a resolver in the pod are not for
	// itself; of groups the reference does not say so.
	again := []condition{notDestination(p.loopback), out(loopbackInterface)}
	if p.dns.enabled && id.user {
		again = append(again, protocol(iptables.TCP), match(iptables.Multiport{
			Side: iptables.DestinationPorts, Not: true,
			Ports: []iptables.PortRange{iptables.Port(dnsPort), iptables.Port(p.cfg.TunnelPort)},
		}))
	} else {
		again = append(again, notToPort(iptables.TCP, p.cfg.TunnelPort))
	}
	nat.Append(chainOutput, because("a call to the pod's own service comes in again",
		id.origin.rule(iptables.Jump{Chain: chainInRedirect}, append(again, id.is)...)))

	// The application calls itself by the pod's own address, without the
	// proxy. With DNS capture, queries to a resolver in the pod go on to the
	// rules for DNS. Whoever includes a part of loopback wants these captured.
	if !p.includesLoopback() {
		self := []condition{out(loopbackInterface)}
		if p.dns.enabled {
			self = append(self, notToPort(iptables.TCP, dnsPort))
		}
		nat.Append(chainOutput, because("the application to itself",
			id.origin.rule(iptables.Return, append(self, id.isNot)...)))
	}

	// No loops: whatever else the proxy sends is on its way.
	nat.Append(chainOutput, because("the proxy's own traffic, on its way", id.origin.rule(iptables.Return, id.is)))
}

// includesLoopback looks at both families: an application that is captured
// towards itself in one of them is so in the other.
func (p *planner) includesLoopback() bool {
	return slices.ContainsFunc(p.cfg.IncludedCIDRs.CIDRs, func(c netip.Prefix) bool {
		if c.Addr().Is4() {
			return c.Bits() >= 8 && c.Addr().IsLoopback()
		}
		return c.IsSingleIP() && c.Addr().IsLoopback()
	})
}

// excludedUsers lets traffic of applications go that have to do without the proxy.
// Their DNS queries are exempt with the rest, or alone, by protocol and port.
func (p *planner) excludedUsers(nat *iptables.Table) {
	for _, t := range p.cfg.ExcludedUIDs {
		who := users(t)
		why := from("--excluded-uids", t)
		if t.Ports == (iptables.PortRange{}) {
			conditions := []condition{who}
			if t.Protocol != "" {
				conditions = append(conditions, protocol(t.Protocol))
			}
			nat.Append(chainOutput, why.rule(iptables.Return, conditions...))
			continue
		}
		for _, proto := range []iptables.Protocol{iptables.TCP, iptables.UDP} {
			if t.Protocol == "" || t.Protocol == proto {
				nat.Append(chainOutput, why.rule(iptables.Return, toPorts(proto, t.Ports), who))
			}
		}
	}
}

func users(t config.UserTraffic) condition {
	return match(iptables.Owner{UID: iptables.IDMatch{First: t.First, Last: t.Last, Set: true}})
}

// ownerGroups lets traffic of other groups than the captured ones go.
func (p *planner) ownerGroups(nat *iptables.Table) {
	if p.cfg.IncludedGroups.All {
		for _, gid := range p.cfg.ExcludedGroups {
			nat.Append(chainOutput, from("--excluded-groups", gid).rule(iptables.Return,
				match(iptables.Owner{GID: iptables.ID(gid)})))
		}
		return
	}
	none := make([]condition, len(p.cfg.IncludedGroups.Groups))
	names := make([]string, len(none))
	for i, gid := range p.cfg.IncludedGroups.Groups {
		none[i] = match(iptables.Owner{GID: iptables.NotID(gid)})
		names[i] = fmt.Sprint(gid)
	}
	nat.Append(chainOutput, from("--included-groups", strings.Join(names, ",")).rule(iptables.Return, none...))
}

func (p *planner) outboundDestinations(nat *iptables.Table) {
	for _, cidr := range p.cfg.ExcludedCIDRs {
		if p.ofFamily(cidr) {
			nat.Append(chainOutput, from("--excluded-cidrs", cidr).rule(iptables.Return, destination(cidr)))
		}
	}
	for _, port := range p.cfg.IncludedOutboundPorts {
		nat.Append(chainOutput, from("--included-outbound-ports", port).rule(iptables.Jump{Chain: chainRedirect},
			toPorts(iptables.TCP, port)))
	}
	for _, c := range p.includedCIDRs() {
		nat.Append(chainOutput, c.origin.rule(iptables.Jump{Chain: chainRedirect}, c.condition))
	}
}

// includedCIDR is one destination whose connections are captured.
type includedCIDR struct {
	origin    origin
	condition condition
}

// includedCIDRs returns those of the family, or one that every destination
// meets.
func (p *planner) includedCIDRs() []includedCIDR {
	if p.cfg.IncludedCIDRs.All {
		return []includedCIDR{{from("--included-cidrs", "*"), func(*iptables.Rule) {}}}
	}
	var included []includedCIDR
	for _, cidr := range p.cfg.IncludedCIDRs.CIDRs {
		if p.ofFamily(cidr) {
			included = append(included, includedCIDR{from("--included-cidrs", cidr), destination(cidr)})
		}
	}
	return included
}

func (p *planner) ofFamily(cidr netip.Prefix) bool {
	return iptables.FamilyOf(cidr.Addr()) == p.family
}

func joinPorts(ranges []iptables.PortRange) string {
	words := make([]string, len(ranges))
	for i, r := range ranges {
		words[i] = r.String()
	}
	return strings.Join(words, ",")
}
