package ambient

import (
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/form"
)

// family reads the rules of one family, by the names and shapes that the planner gives
// them. In built-in chains, rules that are not jumps are foreign.
func (r *recogniser) family(rs *iptables.Ruleset, f iptables.Family) {
	rules := func(table, chain string) []iptables.Rule {
		if t := rs.Table(f, table); t != nil {
			if c := t.Chain(chain); c != nil {
				return form.Ungroup(c.Rules)
			}
		}
		return nil
	}
	marking, output := rules(iptables.Mangle, chainPrerouting), rules(iptables.Nat, chainOutput)
	if len(marking)+len(output) == 0 {
		return
	}
	r.families = append(r.families, f)
	r.marks(marking)
	for _, rule := range output {
		r.outbound(&rule, f)
	}
	for _, rule := range rules(iptables.Nat, chainPrerouting) {
		r.inbound(&rule, f)
	}
}

// marks reads ISTIO_PRERT of mangle.
func (r *recogniser) marks(rules []iptables.Rule) {
	for _, rule := range rules {
		if set, ok := rule.Target.(iptables.SetConnmark); ok {
			for _, m := range iptables.MatchesOf[iptables.Mark](rule) {
				r.cfg.ProxyMark = config.MaskedMark{Value: m.Value, Mask: m.Mask}
			}
			r.cfg.ConnectionMark = config.MaskedMark(set)
		}
	}
}

// outbound reads a rule of ISTIO_OUTPUT of nat.
func (r *recogniser) outbound(rule *iptables.Rule, f iptables.Family) {
	c := &r.cfg
	port, toPort := destinationPort(rule)
	switch to := rule.Target.(type) {
	case iptables.Redirect:
		r.outboundRedirect(rule, to.Ports.First, f)
	case iptables.Verdict:
		switch {
		case to == iptables.Accept:
			r.hostProbe(rule.Destination, f)
		case to != iptables.Return:
		case rule.Out != (iptables.Interface{}):
			c.ExcludedInterfaces = append(c.ExcludedInterfaces, rule.Out.Name)
		case toPort && rule.Protocol.Protocol == iptables.TCP:
			// Its twin for UDP says the same.
			c.ExcludedOutboundPorts = append(c.ExcludedOutboundPorts, port)
		case rule.Protocol == (iptables.ProtocolMatch{}):
			c.ExcludedCIDRs = append(c.ExcludedCIDRs, capture.ListedPrefix(rule.Destination, f))
		}
	}
}

// outboundRedirect reads a rule that sends to a port of the proxy. Rules about DNS come
// first: for UDP, then for TCP.
func (r *recogniser) outboundRedirect(rule *iptables.Rule, to uint16, f iptables.Family) {
	c := &r.cfg
	port, toPort := destinationPort(rule)
	switch {
	case rule.Protocol.Protocol == iptables.UDP:
		c.RedirectDNS, c.DNSPort = true, to
		r.queries = true
	case r.queries && port == iptables.Port(dnsPort):
		r.queries = false
	case toPort:
		c.OutboundPort = to
		c.IncludedOutboundPorts = append(c.IncludedOutboundPorts, port)
	case rule.Destination.Not:
		c.OutboundPort, c.IncludedCIDRs.All = to, true
	default:
		c.OutboundPort = to
		c.IncludedCIDRs.CIDRs = append(c.IncludedCIDRs.CIDRs, capture.ListedPrefix(rule.Destination, f))
	}
}

// hostProbe reads the address of an accepting rule, if it names one.
func (r *recogniser) hostProbe(a iptables.Address, f iptables.Family) {
	if a != (iptables.Address{}) && !a.Not && a.Prefix.IsSingleIP() && iptables.FamilyOf(a.Prefix.Addr()) == f {
		r.cfg.HostProbe.Set(a.Prefix.Addr())
	}
}

// inbound reads a rule of ISTIO_PRERT of nat.
func (r *recogniser) inbound(rule *iptables.Rule, f iptables.Family) {
	c := &r.cfg
	port, toPort := destinationPort(rule)
	isTCP := rule.Protocol.Protocol == iptables.TCP
	switch to := rule.Target.(type) {
	case iptables.Redirect:
		r.inboundRedirect(rule, to.Ports.First)
	case iptables.Verdict:
		switch {
		case to == iptables.Accept:
			r.hostProbe(rule.Source, f)
		case to != iptables.Return:
		case rule.In != (iptables.Interface{}) && isTCP:
			c.VirtualInterfaces = append(c.VirtualInterfaces, rule.In.Name)
		case rule.In != (iptables.Interface{}):
			// Outbound has it too, unless somebody removed it there.
		case toPort:
			r.returned = append(r.returned, port)
		case isTCP:
			c.ExcludedSourceCIDRs = append(c.ExcludedSourceCIDRs, capture.ListedPrefix(rule.Source, f))
		}
	}
}

// inboundRedirect reads a rule that sends to a port of the proxy.
func (r *recogniser) inboundRedirect(rule *iptables.Rule, to uint16) {
	c := &r.cfg
	if rule.In != (iptables.Interface{}) || len(iptables.MatchesOf[iptables.Mark](*rule)) == 0 {
		// Of a virtual machine: outbound, or a query.
		if _, toPort := destinationPort(rule); toPort {
			c.RedirectVirtualDNS = true
		} else {
			c.OutboundPort = to
		}
		return
	}
	c.InboundPort = to
	if port, toPort := destinationPort(rule); toPort {
		c.IncludedPorts.Ports = append(c.IncludedPorts.Ports, port)
	} else if values, not, ok := rule.Values(iptables.DestinationPort); ok && not {
		c.IncludedPorts.All = true
		c.TunnelPort = values[0].Ports().First
	}
}

// destinationPort returns the one port, or range of ports, that a rule asks for.
func destinationPort(rule *iptables.Rule) (iptables.PortRange, bool) {
	values, not, ok := rule.Values(iptables.DestinationPort)
	if !ok || not || len(values) != 1 {
		return iptables.PortRange{}, false
	}
	return values[0].Ports(), true
}
