package ambient

import (
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
)

const (
	optionIncludedPorts     = "--included-ports"
	optionVirtualInterfaces = "--virtual-interfaces"
	optionHostProbeAddress  = "--host-probe-address"
	optionTunnelPort        = "--tunnel-port"
)

// inbound writes ISTIO_PRERT of nat. The first rule that matches decides, so the order is
// the policy.
func (p *planner) inbound(nat *iptables.PlannedTable) {
	p.virtualQueries(nat)
	p.virtualInterfaces(nat)
	if !p.cfg.capturesInbound() {
		return
	}
	nat.Append(chainPrerouting, p.skippedInterfaces(iptables.InInterface)...)
	nat.Append(chainPrerouting, p.hostProbe(capture.FromAddress)...)
	nat.Append(chainPrerouting, p.perFamily(func(f iptables.Family) iptables.PlannedRule {
		return capture.FromList("--excluded-source-cidrs").Rule(iptables.Return,
			capture.AnyOf(iptables.SourceAddress, capture.Prefixes(f, p.cfg.ExcludedSourceCIDRs)), capture.Protocol(iptables.TCP))
	})...)
	if p.cfg.IncludedPorts.All {
		p.allPorts(nat)
	} else {
		p.listedPorts(nat)
	}
}

func (c Config) capturesInbound() bool { return c.IncludedPorts.All || len(c.IncludedPorts.Ports) > 0 }

// allPorts captures every port but the excluded ones and the tunnel's, where the proxy takes
// connections as they are.
func (p *planner) allPorts(nat *iptables.PlannedTable) {
	nat.Append(chainPrerouting, capture.Listed(
		capture.FromList("--excluded-ports").Rule(iptables.Return, capture.ToAnyPort(iptables.TCP, p.cfg.ExcludedPorts)))...)
	nat.Append(chainPrerouting, p.perFamily(func(f iptables.Family) iptables.PlannedRule {
		return capture.From(optionIncludedPorts, "*").Rule(redirect(p.cfg.InboundPort),
			capture.NotToAddress(loopback(f)), capture.NotToPort(iptables.TCP, p.cfg.TunnelPort), p.notProxys())
	})...)
}

// listedPorts captures some ports. A range can have the tunnel's in it.
func (p *planner) listedPorts(nat *iptables.PlannedTable) {
	nat.Append(chainPrerouting, capture.Because("for the proxy as it is",
		capture.From(optionTunnelPort, p.cfg.TunnelPort).Rule(iptables.Return, capture.ToPort(iptables.TCP, p.cfg.TunnelPort))))
	nat.Append(chainPrerouting, p.perFamily(func(f iptables.Family) iptables.PlannedRule {
		return capture.FromList(optionIncludedPorts).Rule(redirect(p.cfg.InboundPort),
			capture.NotToAddress(loopback(f)), capture.ToAnyPort(iptables.TCP, p.cfg.IncludedPorts.Ports), p.notProxys())
	})...)
}

// hostProbe exempts the node's health probes: on the host they get an address that nothing
// else has, so that they are told from other clients. side matches it.
func (p *planner) hostProbe(side func(netip.Prefix) capture.Condition) []iptables.PlannedRule {
	return p.perFamily(func(f iptables.Family) iptables.PlannedRule {
		a := p.cfg.HostProbe.Of(f)
		return capture.From(optionHostProbeAddress, a).Rule(iptables.Accept,
			side(single(a)), capture.Protocol(iptables.TCP), capture.Match(iptables.Ports{Protocol: iptables.TCP}))
	})
}

// virtualInterfaces treats what comes in from a virtual machine behind the pod as
// outbound: the machine is the application. What this does not capture is not captured
// as inbound either.
func (p *planner) virtualInterfaces(nat *iptables.PlannedTable) {
	names := p.inByVirtual()
	why, tcp, to := capture.FromList(optionVirtualInterfaces), capture.Protocol(iptables.TCP), redirect(p.cfg.OutboundPort)
	left := iptables.ForEach
	var rules []iptables.PlannedRule
	if p.cfg.IncludedCIDRs.All {
		left = iptables.ForNone
		rules = append(rules, why.Rule(to, names, tcp))
	}
	rules = append(rules, p.perFamily(func(f iptables.Family) iptables.PlannedRule {
		return why.Rule(to, names, capture.AnyOf(iptables.DestinationAddress, capture.Prefixes(f, p.cfg.IncludedCIDRs.CIDRs)), tcp)
	})...)
	rules = append(rules, capture.Needed(left, why.Rule(iptables.Return, names, tcp)))
	nat.Append(chainPrerouting, capture.Listed(iptables.Each(rules...)...)...)
}

// inByVirtual matches what comes in from a virtual machine.
func (p *planner) inByVirtual() capture.Condition {
	return capture.ByInterfaces(iptables.InInterface, p.virtual)
}

// skippedInterfaces leave excluded interfaces alone, in one direction.
func (p *planner) skippedInterfaces(direction iptables.SetField) []iptables.PlannedRule {
	return capture.Listed(capture.FromList("--excluded-interfaces").Rule(iptables.Return,
		capture.ByInterfaces(direction, p.cfg.ExcludedInterfaces)))
}
