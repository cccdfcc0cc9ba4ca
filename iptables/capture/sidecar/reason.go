package sidecar

import (
	"fmt"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
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
	case q.Packet.Hook == iptables.Prerouting:
		return q.notInbound()
	case q.Packet.Protocol == iptables.UDP:
		return q.notDNS()
	default:
		return q.NotOutbound()
	}
}

// inquiry is about one bypass.
type inquiry struct{ capture.Inquiry }

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
	if why, ok := q.NotInbound(); ok {
		return why
	}
	if p := q.Packet; p.Destination.IsLoopback() || q.IsListed("--loopback-cidr") {
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
	if why, ok := q.LeavesMachines(); ok {
		return why
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
