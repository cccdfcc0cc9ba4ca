package linkerd

import (
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
)

// The chains, both in nat.
const (
	chainInbound  = "PROXY_INIT_REDIRECT" // decides about inbound connections
	chainOutbound = "PROXY_INIT_OUTPUT"   // decides about outbound connections
)

// The options that rules come from.
const (
	optionInboundPort   = "--inbound-port"
	optionOutboundPort  = "--outbound-port"
	optionProxyUID      = "--proxy-uid"
	optionProxyGID      = "--proxy-gid"
	optionIncludedPorts = "--included-ports"
	optionExcludedPorts = "--excluded-ports"
	optionExcludedOut   = "--excluded-outbound-ports"
	optionExcludedFrom  = "--excluded-source-cidrs"
	optionExcludedTo    = "--excluded-cidrs"
	optionCloseWait     = "--timeout-close-wait-secs"
)

// planner collects the rules. In each chain the first that matches decides, so the order is
// the policy.
type planner struct {
	Config
	families []iptables.Family
	nat      iptables.PlannedTable
}

func (p *planner) plan() {
	p.nat.Make(chainOutbound, chainInbound)
	p.nat.Append(iptables.Prerouting, capture.BuiltIn("inbound").Rule(iptables.Jump{Chain: chainInbound}))
	p.nat.Append(iptables.Output, capture.BuiltIn("outbound").Rule(iptables.Jump{Chain: chainOutbound}))
	p.inbound()
	p.outbound()
}

// inbound leaves excluded clients and ports alone, listed ones too, and redirects the rest. If
// nothing is captured, there is nothing to leave out.
func (p *planner) inbound() {
	if !p.selection().CapturesInbound() {
		return
	}
	p.skipAddresses(chainInbound, optionExcludedFrom, iptables.SourceAddress, p.ExcludedSourceCIDRs)
	p.skipPorts(chainInbound, optionExcludedPorts, p.ExcludedPorts)
	to := iptables.Redirect{Ports: iptables.Port(p.InboundPort)}
	if p.IncludedPorts.All {
		p.nat.Append(chainInbound, capture.From(optionIncludedPorts, "*").Rule(to, capture.Protocol(iptables.TCP)))
		return
	}
	p.nat.Append(chainInbound, capture.Listed(
		capture.FromList(optionIncludedPorts).Rule(to, capture.ToAnyPort(iptables.TCP, p.IncludedPorts.Ports)))...)
}

// outbound leaves the proxy's own traffic alone, what stays in the pod, excluded destinations and
// ports, and redirects the rest.
func (p *planner) outbound() {
	p.nat.Append(chainOutbound, capture.Listed(
		capture.FromList(optionProxyUID).Rule(iptables.Return, capture.AnyOf(iptables.OwnerUID, capture.Intervals(p.ProxyUIDs, capture.ID))),
		capture.FromList(optionProxyGID).Rule(iptables.Return, capture.AnyOf(iptables.OwnerGID, capture.Intervals(p.ProxyGIDs, capture.ID))),
	)...)
	p.nat.Append(chainOutbound, capture.BuiltIn("loopback").Rule(iptables.Return, capture.Out(capture.LoopbackInterface)))
	p.skipAddresses(chainOutbound, optionExcludedTo, iptables.DestinationAddress, p.ExcludedCIDRs)
	p.skipPorts(chainOutbound, optionExcludedOut, p.ExcludedOutboundPorts)
	p.nat.Append(chainOutbound, capture.From(optionOutboundPort, p.OutboundPort).Rule(
		iptables.Redirect{Ports: iptables.Port(p.OutboundPort)}, capture.Protocol(iptables.TCP)))
}

// skipAddresses leaves addresses alone, each in the rules of its family.
func (p *planner) skipAddresses(chain, option string, side iptables.SetField, all []netip.Prefix) {
	p.nat.Append(chain, capture.PerFamily(p.families, func(f iptables.Family) iptables.PlannedRule {
		return capture.FromList(option).Rule(iptables.Return, capture.AnyOf(side, capture.Prefixes(f, all)))
	})...)
}

// skipPorts leaves ports alone. The reference writes up to 15 of them a rule, however few they
// are, in the order given.
func (p *planner) skipPorts(chain, option string, ports []iptables.PortRange) {
	list := iptables.List{Field: iptables.DestinationPort, Given: capture.Intervals(ports, iptables.PortInterval), Grouped: true}
	p.nat.Append(chain, capture.Listed(
		capture.FromList(option).Rule(iptables.Return, capture.Protocol(iptables.TCP), capture.Match(list)))...)
}
