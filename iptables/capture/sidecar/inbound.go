package sidecar

import (
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
)

// natTargets writes the two chains that redirect. They leave UDP and the rest alone: the
// proxy takes TCP only.
func (p *planner) natTargets(nat *iptables.PlannedTable) {
	redirect := func(option string, port uint16) iptables.PlannedRule {
		return capture.From(option, port).Rule(iptables.Redirect{Ports: iptables.Port(port)}, capture.Protocol(iptables.TCP))
	}
	nat.Append(chainInRedirect, redirect("--inbound-port", p.cfg.InboundPort))
	nat.Append(chainRedirect, redirect("--outbound-port", p.cfg.OutboundPort))
}

// natInbound writes PREROUTING and ISTIO_INBOUND of nat.
func (p *planner) natInbound(nat *iptables.PlannedTable) {
	// The proxy takes connections to the tunnel port as they are.
	nat.Append(chainInbound, capture.Because("for the proxy as it is",
		capture.From("--tunnel-port", p.cfg.TunnelPort).Rule(iptables.Return, capture.ToPort(iptables.TCP, p.cfg.TunnelPort))))

	redirects := p.cfg.Mode == ModeRedirect && capturesInbound(p.cfg)
	if redirects {
		p.selectInbound(nat, func(why capture.Origin, conditions ...capture.Condition) []iptables.PlannedRule {
			return []iptables.PlannedRule{why.Rule(iptables.Jump{Chain: chainInRedirect}, conditions...)}
		})
	}
	if len(p.virtual) == 0 && (len(p.cfg.ExcludedInterfaces) == 0 || !redirects) {
		if redirects {
			nat.Append(iptables.Prerouting, p.inboundJump())
		}
		return
	}

	nat.Append(iptables.Prerouting, capture.BuiltIn("inbound").Rule(iptables.Jump{Chain: chainPrerouting}))
	p.virtualQueries(nat)
	p.virtualInterfaces(nat)
	if redirects {
		p.skipInterfaces(nat, chainPrerouting, iptables.InInterface)
		nat.Append(chainPrerouting, p.inboundJump())
	}
}

func (p *planner) inboundJump() iptables.PlannedRule {
	return p.includedPortsOrigin().Rule(iptables.Jump{Chain: chainInbound}, capture.Protocol(iptables.TCP))
}

func (p *planner) includedPortsOrigin() capture.Origin {
	if p.cfg.IncludedPorts.All {
		return capture.From("--included-ports", "*")
	}
	return capture.From("--included-ports", capture.JoinPorts(p.cfg.IncludedPorts.Ports))
}

// selectInbound appends to ISTIO_INBOUND what is captured. Excluded clients and ports
// return; take returns the rules for the rest, or for listed ports. Exclusion wins: a
// client is excluded from listed ports too.
func (p *planner) selectInbound(t *iptables.PlannedTable, take func(why capture.Origin, conditions ...capture.Condition) []iptables.PlannedRule) {
	t.Append(chainInbound, p.perFamily(func(f iptables.Family) iptables.PlannedRule {
		return capture.FromList("--excluded-source-cidrs").Rule(iptables.Return,
			capture.AnyOf(iptables.SourceAddress, capture.Prefixes(f, p.cfg.ExcludedSourceCIDRs)), capture.Protocol(iptables.TCP))
	})...)
	if !p.cfg.IncludedPorts.All {
		t.Append(chainInbound, iptables.Each(take(capture.FromList("--included-ports"), capture.ToAnyPort(iptables.TCP, p.cfg.IncludedPorts.Ports))...)...)
		return
	}
	t.Append(chainInbound, capture.Listed(
		capture.FromList("--excluded-ports").Rule(iptables.Return, capture.ToAnyPort(iptables.TCP, p.cfg.ExcludedPorts)))...)
	t.Append(chainInbound, take(capture.From("--included-ports", "*"), capture.Protocol(iptables.TCP))...)
}

// virtualInterfaces treats what comes in from a virtual machine behind the pod as
// outbound: the machine is the application. What this does not capture is not captured
// as inbound either.
func (p *planner) virtualInterfaces(nat *iptables.PlannedTable) {
	names, why := p.inByVirtual(), capture.FromList("--virtual-interfaces")
	jump := iptables.Jump{Chain: chainRedirect}
	if p.cfg.IncludedCIDRs.All {
		nat.Append(chainPrerouting, capture.Listed(why.Rule(jump, names))...)
	}
	nat.Append(chainPrerouting, p.perFamily(func(f iptables.Family) iptables.PlannedRule {
		return why.Rule(jump, names, capture.AnyOf(iptables.DestinationAddress, capture.Prefixes(f, p.cfg.IncludedCIDRs.CIDRs)))
	})...)
	nat.Append(chainPrerouting, capture.Listed(why.Rule(iptables.Return, names))...)
}

// inByVirtual matches what comes in from a virtual machine.
func (p *planner) inByVirtual() capture.Condition {
	return capture.ByInterfaces(iptables.InInterface, p.virtual)
}

// skipInterfaces makes a chain leave excluded interfaces alone, in one direction.
func (p *planner) skipInterfaces(t *iptables.PlannedTable, chain string, direction iptables.SetField) {
	t.Append(chain, capture.Listed(capture.FromList("--excluded-interfaces").Rule(iptables.Return,
		capture.ByInterfaces(direction, p.cfg.ExcludedInterfaces)))...)
}
