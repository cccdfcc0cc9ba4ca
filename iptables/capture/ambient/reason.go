package ambient

import (
	"fmt"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/explain"
)

// Reason implements [explain.Policy].
func (Policy) Reason(b *explain.Bypass) explain.Reason {
	q := inquiry{capture.Inquiry{Bypass: b}}
	if !q.Covered() {
		return q.WithoutRules()
	}
	if why, never := q.NeverCaptured(); never {
		return why
	}
	switch {
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
	return q.NotOutbound()
}

// inquiry is about one bypass.
type inquiry struct{ capture.Inquiry }

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
	case q.Packet.Hook == iptables.Prerouting:
		if why, ok := q.LeavesMachines(); ok {
			return why
		}
		return q.Altered(capture.OptionRedirectVirtualDNS)
	case q.Packet.Out == capture.LoopbackInterface:
		return explain.Final("queries to a resolver in the pod itself are not captured", "")
	}
	return q.Altered(optionRedirectDNS)
}

// notInbound is about a connection that no inbound rule captures.
func (q inquiry) notInbound() explain.Reason {
	if why, ok := q.NotInbound(); ok {
		return why
	}
	if q.isTunnel() {
		return explain.Final(fmt.Sprintf("port %d is the proxy's own, for tunnelled connections (%s=%[1]d)", q.Packet.DestinationPort, optionTunnelPort), "")
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
