package capture

import (
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/config"
)

// natTargets writes the two chains that redirect. UDP and the rest pass through
// them: the proxy takes TCP only.
func (p *planner) natTargets(nat *iptables.PlannedTable) {
	redirect := func(option string, port uint16) iptables.PlannedRule {
		return from(option, port).rule(iptables.Redirect{Ports: iptables.Port(port)}, protocol(iptables.TCP))
	}
	nat.Append(chainInRedirect, redirect("--inbound-port", p.cfg.InboundPort))
	nat.Append(chainRedirect, redirect("--outbound-port", p.cfg.OutboundPort))
}

// natInbound writes PREROUTING and ISTIO_INBOUND of nat.
func (p *planner) natInbound(nat *iptables.PlannedTable) {
	// What comes in by the tunnel port is for the proxy as it is.
	nat.Append(chainInbound, because("for the proxy as it is",
		from("--tunnel-port", p.cfg.TunnelPort).rule(iptables.Return, toPort(iptables.TCP, p.cfg.TunnelPort))))

	redirects := p.cfg.Mode == config.ModeRedirect && capturesInbound(p.cfg)
	if redirects {
		p.selectInbound(nat, func(why origin, conditions ...condition) []iptables.PlannedRule {
			return []iptables.PlannedRule{why.rule(iptables.Jump{Chain: chainInRedirect}, conditions...)}
		})
	}
	if len(p.cfg.VirtualInterfaces) == 0 && (len(p.cfg.ExcludedInterfaces) == 0 || !redirects) {
		if redirects {
			nat.Append(iptables.Prerouting, p.inboundJump())
		}
		return
	}

	nat.Append(iptables.Prerouting, builtIn("inbound").rule(iptables.Jump{Chain: chainPrerouting}))
	p.virtualInterfaces(nat)
	if redirects {
		p.skipInterfaces(nat, chainPrerouting, iptables.InInterface)
		nat.Append(chainPrerouting, p.inboundJump())
	}
}

func (p *planner) inboundJump() iptables.PlannedRule {
	return p.includedPortsOrigin().rule(iptables.Jump{Chain: chainInbound}, protocol(iptables.TCP))
}

func (p *planner) includedPortsOrigin() origin {
	if p.cfg.IncludedPorts.All {
		return from("--included-ports", "*")
	}
	return from("--included-ports", joinPorts(p.cfg.IncludedPorts.Ports))
}

// selectInbound appends to ISTIO_INBOUND what is captured: excluded clients and
// ports leave it, and take returns the rules for what remains, or for listed ports.
// Exclusion wins: a client is excluded from listed ports too.
func (p *planner) selectInbound(t *iptables.PlannedTable, take func(why origin, conditions ...condition) []iptables.PlannedRule) {
	t.Append(chainInbound, p.perFamily(func(f iptables.Family) iptables.PlannedRule {
		return fromList("--excluded-source-cidrs").rule(iptables.Return,
			anyOf(iptables.SourceAddress, prefixesOf(f, p.cfg.ExcludedSourceCIDRs)), protocol(iptables.TCP))
	})...)
	if !p.cfg.IncludedPorts.All {
		t.Append(chainInbound, iptables.Each(take(fromList("--included-ports"), anyPort(iptables.TCP, p.cfg.IncludedPorts.Ports))...)...)
		return
	}
	t.Append(chainInbound, listed(
		fromList("--excluded-ports").rule(iptables.Return, anyPort(iptables.TCP, p.cfg.ExcludedPorts)))...)
	t.Append(chainInbound, take(from("--included-ports", "*"), protocol(iptables.TCP))...)
}

// virtualInterfaces treats what comes in from a virtual machine behind the pod
// as outbound: the machine is the application. What is not captured so is not
// captured as inbound either.
func (p *planner) virtualInterfaces(nat *iptables.PlannedTable) {
	names := anyOf(iptables.InInterface, intervals(p.cfg.VirtualInterfaces, iptables.InterfaceInterval))
	why := fromList("--virtual-interfaces")
	jump := iptables.Jump{Chain: chainRedirect}
	if p.cfg.IncludedCIDRs.All {
		nat.Append(chainPrerouting, listed(why.rule(jump, names))...)
	}
	nat.Append(chainPrerouting, p.perFamily(func(f iptables.Family) iptables.PlannedRule {
		return why.rule(jump, names, anyOf(iptables.DestinationAddress, prefixesOf(f, p.cfg.IncludedCIDRs.CIDRs)))
	})...)
	nat.Append(chainPrerouting, listed(why.rule(iptables.Return, names))...)
}

// skipInterfaces makes a chain leave excluded interfaces alone, which are
// matched by direction.
func (p *planner) skipInterfaces(t *iptables.PlannedTable, chain string, direction iptables.SetField) {
	t.Append(chain, listed(fromList("--excluded-interfaces").rule(iptables.Return,
		anyOf(direction, intervals(p.cfg.ExcludedInterfaces, iptables.InterfaceInterval))))...)
}

// prefixesOf returns those of a list that are of a family.
func prefixesOf(f iptables.Family, list []netip.Prefix) []iptables.Interval {
	var values []iptables.Interval
	for _, p := range list {
		if iptables.FamilyOf(p.Addr()) == f {
			values = append(values, iptables.PrefixInterval(p))
		}
	}
	return values
}
