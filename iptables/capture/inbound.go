package capture

import (
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/config"
)

// natTargets writes the two chains that redirect. UDP and the rest pass through
// them: the proxy takes TCP only.
func (p *planner) natTargets(nat *iptables.Table) {
	redirect := func(option string, port uint16) iptables.Rule {
		return from(option, port).rule(iptables.Redirect{Ports: iptables.Port(port)}, protocol(iptables.TCP))
	}
	nat.Append(chainInRedirect, redirect("--inbound-port", p.cfg.InboundPort))
	nat.Append(chainRedirect, redirect("--outbound-port", p.cfg.OutboundPort))
}

// natInbound writes PREROUTING and ISTIO_INBOUND of nat.
func (p *planner) natInbound(nat *iptables.Table) {
	// What comes in by the tunnel port is for the proxy as it is.
	nat.Append(chainInbound, because("for the proxy as it is",
		from("--tunnel-port", p.cfg.TunnelPort).rule(iptables.Return, toPort(iptables.TCP, p.cfg.TunnelPort))))

	redirects := p.cfg.Mode == config.ModeRedirect && capturesInbound(p.cfg)
	if redirects {
		p.selectInbound(nat, func(why origin, conditions ...condition) {
			nat.Append(chainInbound, why.rule(iptables.Jump{Chain: chainInRedirect}, conditions...))
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
		p.skipInterfaces(nat, chainPrerouting, in)
		nat.Append(chainPrerouting, p.inboundJump())
	}
}

func (p *planner) inboundJump() iptables.Rule {
	return p.includedPortsOrigin().rule(iptables.Jump{Chain: chainInbound}, protocol(iptables.TCP))
}

func (p *planner) includedPortsOrigin() origin {
	if p.cfg.IncludedPorts.All {
		return from("--included-ports", "*")
	}
	return from("--included-ports", joinPorts(p.cfg.IncludedPorts.Ports))
}

// selectInbound appends to ISTIO_INBOUND what is captured: excluded clients and
// ports leave it, and take is called for what remains, once, or once per listed
// port. Exclusion wins: a client is excluded from listed ports too.
func (p *planner) selectInbound(t *iptables.Table, take func(why origin, conditions ...condition)) {
	for _, cidr := range p.cfg.ExcludedSourceCIDRs {
		if p.ofFamily(cidr) {
			t.Append(chainInbound,
				from("--excluded-source-cidrs", cidr).rule(iptables.Return, source(cidr), protocol(iptables.TCP)))
		}
	}
	if !p.cfg.IncludedPorts.All {
		for _, port := range p.cfg.IncludedPorts.Ports {
			take(from("--included-ports", port), toPorts(iptables.TCP, port))
		}
		return
	}
	for _, port := range p.cfg.ExcludedPorts {
		t.Append(chainInbound,
			from("--excluded-ports", port).rule(iptables.Return, toPorts(iptables.TCP, port)))
	}
	take(from("--included-ports", "*"), protocol(iptables.TCP))
}

// virtualInterfaces treats what comes in from a virtual machine behind the pod
// as outbound: the machine is the application. What is not captured so is not
// captured as inbound either.
func (p *planner) virtualInterfaces(nat *iptables.Table) {
	for _, name := range p.cfg.VirtualInterfaces {
		why := from("--virtual-interfaces", name)
		for _, c := range p.includedCIDRs() {
			nat.Append(chainPrerouting, why.rule(iptables.Jump{Chain: chainRedirect}, c.condition, in(name)))
		}
	}
	for _, name := range p.cfg.VirtualInterfaces {
		nat.Append(chainPrerouting, from("--virtual-interfaces", name).rule(iptables.Return, in(name)))
	}
}

// skipInterfaces makes a chain leave excluded interfaces alone, which are
// matched by direction: in or out.
func (p *planner) skipInterfaces(t *iptables.Table, chain string, direction func(string) condition) {
	for _, name := range p.cfg.ExcludedInterfaces {
		t.Append(chain, from("--excluded-interfaces", name).rule(iptables.Return, direction(name)))
	}
}
