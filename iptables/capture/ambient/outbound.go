package ambient

import (
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
)

const (
	optionIncludedCIDRs         = "--included-cidrs"
	optionIncludedOutboundPorts = "--included-outbound-ports"
)

// outbound writes ISTIO_OUTPUT of nat. The first rule that matches decides, so the order is
// the policy.
func (p *planner) outbound(nat *iptables.PlannedTable) {
	nat.Append(chainOutput, p.skippedInterfaces(iptables.OutInterface)...)
	p.excludedOutboundPorts(nat)
	nat.Append(chainOutput, p.hostProbe(capture.ToAddress)...)
	p.dnsQueries(nat)
	// What routing sends to the proxy.
	nat.Append(chainOutput, p.connectionOrigin().Rule(iptables.Accept, capture.Protocol(iptables.TCP),
		capture.Match(iptables.Mark{Value: p.cfg.ConnectionMark.Value, Mask: p.cfg.ConnectionMark.Mask})))
	// The application calls itself by the pod's own address.
	nat.Append(chainOutput, p.perFamily(func(f iptables.Family) iptables.PlannedRule {
		return capture.BuiltIn("loopback").Rule(iptables.Accept, capture.NotToAddress(loopback(f)), capture.Out(capture.LoopbackInterface))
	})...)
	p.destinations(nat)
}

// excludedOutboundPorts come before everything else: they are excluded for DNS too.
func (p *planner) excludedOutboundPorts(nat *iptables.PlannedTable) {
	why := capture.FromList("--excluded-outbound-ports")
	nat.Append(chainOutput, capture.Listed(iptables.Each(
		why.Rule(iptables.Return, capture.ToAnyPort(iptables.TCP, p.cfg.ExcludedOutboundPorts)),
		why.Rule(iptables.Return, capture.ToAnyPort(iptables.UDP, p.cfg.ExcludedOutboundPorts)))...)...)
}

func (p *planner) destinations(nat *iptables.PlannedTable) {
	nat.Append(chainOutput, p.perFamily(func(f iptables.Family) iptables.PlannedRule {
		return capture.FromList("--excluded-cidrs").Rule(iptables.Return,
			capture.AnyOf(iptables.DestinationAddress, capture.Prefixes(f, p.cfg.ExcludedCIDRs)))
	})...)
	to := redirect(p.cfg.OutboundPort)
	nat.Append(chainOutput, p.perFamily(func(f iptables.Family) iptables.PlannedRule {
		return capture.FromList(optionIncludedOutboundPorts).Rule(to,
			capture.NotToAddress(loopback(f)), capture.ToAnyPort(iptables.TCP, p.cfg.IncludedOutboundPorts), p.notProxys())
	})...)
	if p.cfg.IncludedCIDRs.All {
		nat.Append(chainOutput, p.perFamily(func(f iptables.Family) iptables.PlannedRule {
			return capture.From(optionIncludedCIDRs, "*").Rule(to, capture.NotToAddress(loopback(f)), capture.Protocol(iptables.TCP), p.notProxys())
		})...)
		return
	}
	p.listedDestinations(nat, to)
}

// listedDestinations captures some destinations. A rule has one condition on the
// destination, so loopback has a rule of its own.
func (p *planner) listedDestinations(nat *iptables.PlannedTable, to iptables.Target) {
	for _, f := range p.families {
		cidrs := capture.Prefixes(f, p.cfg.IncludedCIDRs.CIDRs)
		if len(cidrs) == 0 {
			continue
		}
		tcp := capture.Protocol(iptables.TCP)
		nat.Append(chainOutput, capture.PerFamily([]iptables.Family{f}, func(iptables.Family) iptables.PlannedRule {
			return capture.BuiltIn("loopback").Rule(iptables.Return, capture.ToAddress(loopback(f)), tcp)
		})...)
		nat.Append(chainOutput, capture.PerFamily([]iptables.Family{f}, func(iptables.Family) iptables.PlannedRule {
			return capture.FromList(optionIncludedCIDRs).Rule(to, capture.AnyOf(iptables.DestinationAddress, cidrs), tcp, p.notProxys())
		})...)
	}
}
