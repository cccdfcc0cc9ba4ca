package ambient

import (
	"fmt"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/explain"
)

// exempt says why the rule of a step exempts the packet, by the option behind the rule.
func (q inquiry) exempt() explain.Reason {
	o := q.item()
	if why, ok := q.Exempted(o); ok {
		return why
	}
	switch o.Option {
	case optionHostProbeAddress:
		return q.ofProbe()
	case "--connection-mark":
		return explain.Final(fmt.Sprintf("its mark means an answer to the proxy, which has this connection already (%s)", o), "")
	case iptables.BuiltIn:
		return q.builtIn()
	}
	return q.Unplanned()
}

// ofProbe is about the address that the node's health probes get on the host.
func (q inquiry) ofProbe() explain.Reason {
	p, o := q.Packet, q.item()
	if p.Hook == iptables.Prerouting {
		return explain.Final(fmt.Sprintf("client %s is the node with its health probes, which are outside of the mesh (%s)", p.Source, o), "")
	}
	return explain.Final(fmt.Sprintf("destination %s is the node, where health probes come from (%s)", p.Destination, o), "")
}

// builtIn is about exemptions that do not come from an option.
func (q inquiry) builtIn() explain.Reason {
	p := q.Packet
	if q.Step.Rule.Out != (iptables.Interface{}) {
		return explain.Final("connections from the pod to itself are not captured", "connect to the address of a service")
	}
	return explain.Final(fmt.Sprintf("destination %s is the pod itself", p.Destination), "")
}

// item returns the origin of the rule that exempts the packet, with the items of its list
// that match the packet.
func (q inquiry) item() iptables.Origin {
	return q.Item(func(item string) bool { return capture.IsOneOf(q.Step.Rule.Origin.Option, item, q.Packet) })
}
