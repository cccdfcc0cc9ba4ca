package ambient

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
)

// exempt says why the rule of a step exempts the packet, by the option behind the rule.
func (q inquiry) exempt() explain.Reason {
	p, o := q.Packet, q.item()
	takeOut := func(what, item string) explain.Reason {
		return explain.Reason{Why: fmt.Sprintf("%s is excluded by %s", what, o), Change: fmt.Sprintf("take %s out of %s", item, o.Option)}
	}
	switch o.Option {
	case "--excluded-ports", "--excluded-outbound-ports":
		return takeOut(fmt.Sprintf("port %d", p.DestinationPort), fmt.Sprint(p.DestinationPort))
	case "--excluded-cidrs":
		return takeOut(fmt.Sprintf("destination %s", p.Destination), o.Value)
	case "--excluded-source-cidrs":
		return takeOut(fmt.Sprintf("client %s", p.Source), o.Value)
	case "--excluded-interfaces":
		return takeOut("interface "+p.In+p.Out, o.Value)
	case optionHostProbeAddress:
		return q.ofProbe()
	case optionTunnelPort:
		return explain.Final(fmt.Sprintf("port %d is the proxy's own, for tunnelled connections (%s)", p.DestinationPort, o), "")
	case "--connection-mark":
		return explain.Final(fmt.Sprintf("its mark means an answer to the proxy, which has this connection already (%s)", o), "")
	case optionVirtualInterfaces:
		return q.ofVirtualMachine()
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

// ofVirtualMachine is about what a virtual machine behind the pod sends. It counts as
// outbound only.
func (q inquiry) ofVirtualMachine() explain.Reason {
	p, o := q.Packet, q.item()
	if slices.Contains(q.Given(optionIncludedCIDRs), "*") {
		return explain.Final(fmt.Sprintf("what comes in via %s is outbound traffic (%s)", p.In, o), "")
	}
	return explain.Reason{Final: true,
		Why:    fmt.Sprintf("what comes in via %s is outbound traffic (%s), and %s", p.In, o, q.notIncluded()),
		Change: fmt.Sprintf("add %s to --included-cidrs", p.Destination)}
}

// item returns the origin of the rule that exempts the packet, with the items of its list
// that match the packet.
func (q inquiry) item() iptables.Origin {
	return q.Item(func(item string) bool { return isOneOf(q.Step.Rule.Origin.Option, item, q.Packet) })
}

// isOneOf reports whether an item of an option's list covers the packet.
func isOneOf(option, word string, p *iptables.Packet) bool {
	switch option {
	case "--excluded-ports", "--excluded-outbound-ports":
		return isPort(word, p.DestinationPort)
	case "--excluded-cidrs":
		return isIn(word, p.Destination)
	case "--excluded-source-cidrs":
		return isIn(word, p.Source)
	case "--excluded-interfaces", optionVirtualInterfaces:
		return word != "" && iptables.Interface{Name: word}.MetBy(p.In+p.Out)
	}
	return false
}

func isIn(prefix string, a netip.Addr) bool {
	p, err := netip.ParsePrefix(prefix)
	return err == nil && p.Contains(a)
}

func isPort(ports string, port uint16) bool {
	r, err := iptables.ParsePortRange(ports)
	return err == nil && r.Contains(port)
}
