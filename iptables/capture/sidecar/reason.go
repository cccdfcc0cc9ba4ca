package sidecar

import (
	"fmt"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
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
	case q.Packet.Hook == iptables.Prerouting:
		return q.notInbound()
	case q.Packet.Protocol == iptables.UDP:
		return q.notDNS()
	default:
		return q.notOutbound()
	}
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
		return len(q.Given("--included-ports")) > 0
	case q.Packet.Protocol == iptables.UDP:
		return q.capturesDNS()
	}
	return true
}

// notInbound is about a connection that no inbound rule captures.
func (q inquiry) notInbound() explain.Reason {
	p := q.Packet
	ports := q.Given("--included-ports")
	switch {
	case len(ports) == 0:
		return explain.Reason{Why: "no inbound port is captured: --included-ports is empty",
			Change: fmt.Sprintf("add %d to --included-ports, or set it to *", p.DestinationPort)}
	case !q.isListed("--included-ports"):
		return explain.Reason{Why: fmt.Sprintf("port %d is not in --included-ports=%s", p.DestinationPort, strings.Join(ports, ",")),
			Change: fmt.Sprintf("add %d to --included-ports", p.DestinationPort)}
	case p.Destination.IsLoopback() || q.isListed("--loopback-cidr"):
		return explain.Final(fmt.Sprintf("destination %s is the pod itself", p.Destination), "")
	}
	return q.Altered("--included-ports")
}

// notDNS is about a query to a name server that is not captured.
func (q inquiry) notDNS() explain.Reason {
	p := q.Packet
	if !q.capturesDNS() {
		// The rules do not say which servers resolv.conf names.
		return explain.Reason{Why: "DNS is not captured: --redirect-dns is not set",
			Change: fmt.Sprintf("set --redirect-dns, and --capture-all-dns too unless resolv.conf names %s", p.Destination)}
	}
	servers := slices.DeleteFunc(q.Given("--redirect-dns"), func(v string) bool { return v == "" })
	switch {
	case len(q.Given("--capture-all-dns")) > 0:
		return q.Altered("--capture-all-dns")
	case slices.Contains(servers, p.Destination.String()):
		return q.Altered("--redirect-dns")
	case len(servers) == 0:
		return explain.Reason{Why: fmt.Sprintf("resolv.conf names no %s server", p.Family()),
			Change: "query a server that resolv.conf names, or set --capture-all-dns"}
	}
	return explain.Reason{Why: fmt.Sprintf("name server %s is not in resolv.conf, which has %s (--redirect-dns)", p.Destination, strings.Join(servers, ", ")),
		Change: fmt.Sprintf("query %s, or add %s to resolv.conf and apply again, or set --capture-all-dns", servers[0], p.Destination)}
}

func (q inquiry) capturesDNS() bool {
	return len(q.Given("--redirect-dns")) > 0 || len(q.Given("--capture-all-dns")) > 0
}

// notOutbound is about a destination that nothing includes.
func (q inquiry) notOutbound() explain.Reason {
	p := q.Packet
	for _, option := range []string{"--included-cidrs", "--included-outbound-ports"} {
		if q.isListed(option) {
			return q.Altered(option)
		}
	}
	return explain.Reason{Why: q.notIncluded(),
		Change: fmt.Sprintf("add %s to --included-cidrs, or %d to --included-outbound-ports", p.Destination, p.DestinationPort)}
}

func (q inquiry) notIncluded() string {
	why := fmt.Sprintf("destination %s is not in --included-cidrs=%s", q.Packet.Destination, strings.Join(q.Given("--included-cidrs"), ","))
	if ports := q.Given("--included-outbound-ports"); len(ports) > 0 {
		why += fmt.Sprintf(" and port %d is not in --included-outbound-ports=%s", q.Packet.DestinationPort, strings.Join(ports, ","))
	}
	return why
}

// isListed reports whether an option that lists ports or destinations has the packet's.
func (q inquiry) isListed(option string) bool {
	return slices.ContainsFunc(q.Given(option), func(item string) bool {
		ports, err := iptables.ParsePortRange(item)
		return item == "*" || isIn(item, q.Packet.Destination) || err == nil && ports.Contains(q.Packet.DestinationPort)
	})
}
