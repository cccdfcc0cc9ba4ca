package ambient

import (
	"fmt"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/explain"
)

// Reason implements [explain.Policy].
func (Policy) Reason(b *explain.Bypass) explain.Reason {
	q := inquiry{b}
	switch {
	case !q.Covered():
		return q.withoutRules()
	case q.neverCaptured():
		return explain.Final(fmt.Sprintf("the proxy takes only tcp and outbound DNS (udp to port %d)", dnsPort), "")
	case q.Decided:
		return q.exempt()
	case q.isWanted() && !q.ReachesOwn():
		return q.Unreached()
	case q.isProxys():
		return explain.Final(fmt.Sprintf("mark %#x is the proxy's (--proxy-mark=%s): capturing its traffic would make a loop", q.Packet.Mark, q.proxyMark()),
			"if this is not the proxy, have it send another mark")
	case q.Packet.Protocol == iptables.UDP:
		return q.notDNS()
	case loopback(q.Packet.Family()).Contains(q.Packet.Destination):
		return explain.Final(fmt.Sprintf("destination %s is the pod itself", q.Packet.Destination), "")
	case q.Packet.Hook == iptables.Prerouting:
		return q.notInbound()
	}
	return q.notOutbound()
}

// inquiry is about one bypass.
type inquiry struct{ *explain.Bypass }

func (q inquiry) withoutRules() explain.Reason {
	why := fmt.Sprintf("meshtables has no rules for %s", q.Packet.Family())
	if q.Packet.Family() == iptables.IPv6 {
		return explain.Reason{Why: why, Change: "apply them with --ipv6=on"}
	}
	return explain.Reason{Why: why, Change: "apply them"}
}

func (q inquiry) neverCaptured() bool {
	p := q.Packet
	dns := p.Protocol == iptables.UDP && p.Hook == iptables.Output && p.DestinationPort == dnsPort
	return p.Protocol != iptables.TCP && !dns
}

// isWanted reports whether an option has rules that the packet should reach.
func (q inquiry) isWanted() bool {
	switch {
	case q.Packet.Hook == iptables.Prerouting:
		return len(q.Given(optionIncludedPorts)) > 0
	case q.Packet.Protocol == iptables.UDP:
		return len(q.Given(optionRedirectDNS)) > 0
	}
	return true
}

// proxyMark returns the proxy's mark as the rules have it.
func (q inquiry) proxyMark() string { return strings.Join(q.Given("--proxy-mark"), ",") }

// isProxys reports whether the packet has the proxy's mark.
func (q inquiry) isProxys() bool {
	var m config.MaskedMark
	return config.Mark(&m).Set(q.proxyMark()) == nil && m.Meets(q.Packet.Mark)
}

// notDNS is about a query that is not captured.
func (q inquiry) notDNS() explain.Reason {
	switch {
	case len(q.Given(optionRedirectDNS)) == 0:
		return explain.Reason{Why: "DNS is not captured: --redirect-dns is not set", Change: "set --redirect-dns"}
	case q.Packet.Out == loopbackInterface:
		return explain.Final("queries to a resolver in the pod itself are not captured", "")
	}
	return q.Altered(optionRedirectDNS)
}

// notInbound is about a connection that no inbound rule captures.
func (q inquiry) notInbound() explain.Reason {
	p := q.Packet
	ports := q.Given(optionIncludedPorts)
	switch {
	case len(ports) == 0:
		return explain.Reason{Why: "no inbound port is captured: --included-ports is empty",
			Change: fmt.Sprintf("add %d to --included-ports, or set it to *", p.DestinationPort)}
	case q.isTunnel():
		return explain.Final(fmt.Sprintf("port %d is the proxy's own, for tunnelled connections (%s=%[1]d)", p.DestinationPort, optionTunnelPort), "")
	case !q.isListed(optionIncludedPorts):
		return explain.Reason{Why: fmt.Sprintf("port %d is not in --included-ports=%s", p.DestinationPort, strings.Join(ports, ",")),
			Change: fmt.Sprintf("add %d to --included-ports", p.DestinationPort)}
	}
	return q.Altered(optionIncludedPorts)
}

// isTunnel reports whether the rule for all ports leaves out the packet's.
func (q inquiry) isTunnel() bool {
	return slices.ContainsFunc(q.RulesOf(optionIncludedPorts), func(r iptables.Rule) bool {
		ports, not, ok := r.Values(iptables.DestinationPort)
		to, _ := q.Packet.Value(iptables.DestinationPort)
		return ok && not && slices.ContainsFunc(ports, func(p iptables.Interval) bool { return p.Contains(to) })
	})
}

// notOutbound is about a destination that nothing includes.
func (q inquiry) notOutbound() explain.Reason {
	p := q.Packet
	for _, option := range []string{optionIncludedCIDRs, optionIncludedOutboundPorts} {
		if q.isListed(option) {
			return q.Altered(option)
		}
	}
	return explain.Reason{Why: q.notIncluded(),
		Change: fmt.Sprintf("add %s to --included-cidrs, or %d to --included-outbound-ports", p.Destination, p.DestinationPort)}
}

func (q inquiry) notIncluded() string {
	why := fmt.Sprintf("destination %s is not in --included-cidrs=%s", q.Packet.Destination, strings.Join(q.Given(optionIncludedCIDRs), ","))
	if ports := q.Given(optionIncludedOutboundPorts); len(ports) > 0 {
		why += fmt.Sprintf(" and port %d is not in --included-outbound-ports=%s", q.Packet.DestinationPort, strings.Join(ports, ","))
	}
	return why
}

// isListed reports whether an option that lists ports or destinations has the packet's.
func (q inquiry) isListed(option string) bool {
	return slices.ContainsFunc(q.Given(option), func(item string) bool {
		return item == "*" || isIn(item, q.Packet.Destination) || isPort(item, q.Packet.DestinationPort)
	})
}
