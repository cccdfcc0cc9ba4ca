package linkerd

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/explain"
)

// Reason implements [explain.Policy].
func (Policy) Reason(b *explain.Bypass) explain.Reason {
	q := inquiry{capture.Inquiry{Bypass: b}}
	switch {
	case !q.Covered():
		return q.WithoutRules()
	case q.Packet.Protocol != iptables.TCP:
		return explain.Final("the proxy takes only tcp", "")
	case q.Decided:
		return q.exempt()
	case !q.ReachesOwn():
		return q.Unreached()
	case q.Packet.Hook == iptables.Prerouting:
		return q.notInbound()
	}
	return q.Altered(optionOutboundPort)
}

// inquiry is about one bypass.
type inquiry struct{ capture.Inquiry }

// exempt says why the rule of a step exempts the packet, by the option behind the rule.
func (q inquiry) exempt() explain.Reason {
	o := q.Item(q.isOneOf)
	if why, ok := q.Exempted(o); ok {
		return why
	}
	switch o.Option {
	case optionProxyUID:
		return q.ofProxy(o, "user", q.Packet.Owner.UID)
	case optionProxyGID:
		return q.ofProxy(o, "group", q.Packet.Owner.GID)
	case iptables.BuiltIn:
		return explain.Final("connections from the pod to itself are not captured", "connect to the address of a service")
	}
	return q.Unplanned()
}

// isOneOf reports whether an item of the list behind the step's rule covers the packet.
func (q inquiry) isOneOf(item string) bool {
	p := q.Packet
	switch q.Step.Rule.Origin.Option {
	case optionProxyUID:
		return p.Owner != nil && item == strconv.FormatUint(uint64(p.Owner.UID), 10)
	case optionProxyGID:
		return p.Owner != nil && item == strconv.FormatUint(uint64(p.Owner.GID), 10)
	}
	return capture.IsOneOf(q.Step.Rule.Origin.Option, item, p)
}

func (q inquiry) ofProxy(o iptables.Origin, who string, id uint32) explain.Reason {
	return explain.Final(fmt.Sprintf("%s %d is the proxy's (%s): capturing its traffic would make a loop", who, id, o),
		"if this is not the proxy, run it as another "+who)
}

// notInbound is about a connection that no inbound rule captures.
func (q inquiry) notInbound() explain.Reason {
	if slices.Contains(q.Given(optionIncludedPorts), "*") {
		return q.Altered(optionIncludedPorts)
	}
	if why, ok := q.NotInbound(); ok {
		return why
	}
	return q.Altered(optionIncludedPorts)
}
