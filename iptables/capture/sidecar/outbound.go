package sidecar

import (
	"net/netip"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
)

// natOutput writes OUTPUT and ISTIO_OUTPUT of nat. The first rule that matches
// decides, so the order is the policy.
func (p *planner) natOutput(nat *iptables.PlannedTable) {
	nat.Append(iptables.Output, capture.BuiltIn("outbound").Rule(iptables.Jump{Chain: chainOutput}))
	p.skipInterfaces(nat, chainOutput, iptables.OutInterface)
	p.excludedOutboundPorts(nat)
	// The proxy's own connections to the application.
	nat.Append(chainOutput, p.perFamily(func(f iptables.Family) iptables.PlannedRule {
		return capture.BuiltIn("passthrough source").Rule(iptables.Return, capture.FromAddress(passthrough(f)), capture.Out(capture.LoopbackInterface))
	})...)
	for _, id := range p.proxyIdentities() {
		p.proxyTraffic(nat, id)
	}
	p.excludedUsers(nat)
	p.ownerGroups(nat)
	p.dnsRedirect(nat)
	nat.Append(chainOutput, p.perFamily(func(f iptables.Family) iptables.PlannedRule {
		return p.loopbackOrigin(f).Rule(iptables.Return, capture.ToAddress(p.loopback(f)))
	})...)
	p.outboundDestinations(nat)
}

func (p *planner) loopbackOrigin(f iptables.Family) capture.Origin {
	if f == iptables.IPv6 {
		return capture.BuiltIn("loopback")
	}
	return capture.From("--loopback-cidr", p.cfg.LoopbackCIDR)
}

// excludedOutboundPorts come before everything else: they are excluded for the proxy
// and for DNS too.
func (p *planner) excludedOutboundPorts(nat *iptables.PlannedTable) {
	why := capture.FromList("--excluded-outbound-ports")
	nat.Append(chainOutput, capture.Listed(iptables.Each(
		why.Rule(iptables.Return, capture.ToAnyPort(iptables.TCP, p.cfg.ExcludedOutboundPorts)),
		why.Rule(iptables.Return, capture.ToAnyPort(iptables.UDP, p.cfg.ExcludedOutboundPorts)))...)...)
}

// proxyTraffic writes the rules that depend on the proxy's users or groups.
func (p *planner) proxyTraffic(nat *iptables.PlannedTable, id identity) {
	isUser := id.field == iptables.OwnerUID
	leavesLoopback := !includesLoopback(p.cfg)

	// The application calls itself by its service's address: the proxy has chosen
	// this pod, connects to the pod's own address, and must come in again like any
	// other peer. The tunnel port is the proxy's own. With DNS capture, the proxy's
	// queries to a resolver in the pod are not for itself; for groups the reference
	// has no such rule.
	again := capture.NotToPort(iptables.TCP, p.cfg.TunnelPort)
	if p.dns.enabled && isUser {
		again = capture.NotToPorts(iptables.TCP, dnsPort, p.cfg.TunnelPort)
	}
	// The first user's rule exempts everybody else on lo. It comes before the rules of
	// the other users and the groups, and leaves them only DNS.
	comesAgain := iptables.ForEach
	switch {
	case leavesLoopback && isUser:
		comesAgain = iptables.ForFirst
	case leavesLoopback && !p.dns.enabled:
		comesAgain = iptables.ForNone
	}
	rules := p.perFamily(func(f iptables.Family) iptables.PlannedRule {
		return capture.Needed(comesAgain, capture.Because("a call to the pod's own service comes in again",
			id.rule(iptables.Jump{Chain: chainInRedirect}, capture.NotToAddress(p.loopback(f)), capture.Out(capture.LoopbackInterface), again)))
	})

	// The application calls itself by the pod's own address, without the proxy. With
	// DNS capture, queries to a resolver in the pod go on to the rules for DNS. If a
	// part of loopback is included, such calls are captured.
	if leavesLoopback {
		self := capture.Out(capture.LoopbackInterface)
		if p.dns.enabled {
			self = capture.All(self, capture.NotToPort(iptables.TCP, dnsPort))
		}
		// The other users' rules handle what the first user's leaves: DNS.
		leaves := iptables.ForNone
		if isUser {
			leaves = iptables.ForFirst
		}
		rules = append(rules, capture.Needed(leaves, capture.Because("the application to itself", id.ruleForOthers(iptables.Return, self))))
	}

	// No loops: everything else that the proxy sends leaves.
	rules = append(rules, capture.Because("the proxy's own traffic, on its way", id.rule(iptables.Return)))
	nat.Append(chainOutput, iptables.Each(rules...)...)
}

// includesLoopback looks at both families: if calls to itself are captured in one
// family, they are captured in the other too.
func includesLoopback(cfg Config) bool {
	return slices.ContainsFunc(cfg.IncludedCIDRs.CIDRs, func(c netip.Prefix) bool {
		whole := wholeLoopback(iptables.FamilyOf(c.Addr()))
		return c.Bits() >= whole.Bits() && whole.Contains(c.Addr())
	})
}

// wholeLoopback is a family's loopback range (RFC 1122, section 3.2.1.3; RFC 4291,
// section 2.5.3).
func wholeLoopback(f iptables.Family) netip.Prefix {
	if f == iptables.IPv6 {
		return netip.MustParsePrefix("::1/128")
	}
	return netip.MustParsePrefix("127.0.0.0/8")
}

// ownerGroups exempts the traffic of groups that are not captured.
func (p *planner) ownerGroups(nat *iptables.PlannedTable) {
	option, groups := "--excluded-groups", p.cfg.ExcludedGroups
	if !p.cfg.IncludedGroups.All {
		option, groups = "--included-groups", p.cfg.IncludedGroups.Groups
	}
	list := iptables.List{Field: iptables.OwnerGID, Not: !p.cfg.IncludedGroups.All, Given: capture.Intervals(groups, capture.ID)}
	nat.Append(chainOutput, capture.Listed(capture.FromList(option).Rule(iptables.Return, capture.Match(list)))...)
}

func (p *planner) outboundDestinations(nat *iptables.PlannedTable) {
	nat.Append(chainOutput, p.perFamily(func(f iptables.Family) iptables.PlannedRule {
		return capture.FromList("--excluded-cidrs").Rule(iptables.Return,
			capture.AnyOf(iptables.DestinationAddress, capture.Prefixes(f, p.cfg.ExcludedCIDRs)))
	})...)
	jump := iptables.Jump{Chain: chainRedirect}
	nat.Append(chainOutput, capture.Listed(capture.FromList("--included-outbound-ports").Rule(jump,
		capture.ToAnyPort(iptables.TCP, p.cfg.IncludedOutboundPorts)))...)
	if p.cfg.IncludedCIDRs.All {
		nat.Append(chainOutput, capture.From("--included-cidrs", "*").Rule(jump))
		return
	}
	nat.Append(chainOutput, p.perFamily(func(f iptables.Family) iptables.PlannedRule {
		return capture.FromList("--included-cidrs").Rule(jump, capture.AnyOf(iptables.DestinationAddress, capture.Prefixes(f, p.cfg.IncludedCIDRs.CIDRs)))
	})...)
}
