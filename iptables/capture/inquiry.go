package capture

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
)

// Inquiry is about one bypass, as far as the options of a [Selection] are the reason, or what
// every proxy has in common.
type Inquiry struct{ *explain.Bypass }

// WithoutRules is the reason where there are no rules for the packet's family.
func (q Inquiry) WithoutRules() explain.Reason {
	why := fmt.Sprintf("meshtables has no rules for %s", q.Packet.Family())
	if q.Packet.Family() == iptables.IPv6 {
		return explain.Reason{Why: why, Change: "apply them with --ipv6=on"}
	}
	return explain.Reason{Why: why, Change: "apply them"}
}

// NeverCaptured returns the reason if no option makes the proxy take such a packet.
func (q Inquiry) NeverCaptured() (why explain.Reason, never bool) {
	p := q.Packet
	dns := p.Protocol == iptables.UDP && p.DestinationPort == iptables.DNSPort
	if p.Protocol == iptables.TCP || dns && (p.Hook == iptables.Output || q.isOfMachine()) {
		return explain.Reason{}, false
	}
	return explain.Final(fmt.Sprintf("the proxy takes only tcp and outbound DNS (udp to port %d)", iptables.DNSPort), ""), true
}

// NotInbound returns the reason if --included-ports leaves out the packet's port.
func (q Inquiry) NotInbound() (why explain.Reason, ok bool) {
	p, ports := q.Packet, q.Given("--included-ports")
	switch {
	case len(ports) == 0:
		return explain.Reason{Why: "no inbound port is captured: --included-ports is empty",
			Change: fmt.Sprintf("add %d to --included-ports, or set it to *", p.DestinationPort)}, true
	case !q.IsListed("--included-ports"):
		return explain.Reason{Why: fmt.Sprintf("port %d is not in --included-ports=%s", p.DestinationPort, strings.Join(ports, ",")),
			Change: fmt.Sprintf("add %d to --included-ports", p.DestinationPort)}, true
	}
	return explain.Reason{}, false
}

// NotOutbound is the reason where no rule captures a destination.
func (q Inquiry) NotOutbound() explain.Reason {
	p := q.Packet
	for _, option := range []string{"--included-cidrs", "--included-outbound-ports"} {
		if q.IsListed(option) {
			return q.Altered(option)
		}
	}
	return explain.Reason{Why: q.notIncluded(),
		Change: fmt.Sprintf("add %s to --included-cidrs, or %d to --included-outbound-ports", p.Destination, p.DestinationPort)}
}

func (q Inquiry) notIncluded() string {
	why := fmt.Sprintf("destination %s is not in --included-cidrs=%s", q.Packet.Destination, strings.Join(q.Given("--included-cidrs"), ","))
	if ports := q.Given("--included-outbound-ports"); len(ports) > 0 {
		why += fmt.Sprintf(" and port %d is not in --included-outbound-ports=%s", q.Packet.DestinationPort, strings.Join(ports, ","))
	}
	return why
}

// IsListed reports whether an option that lists ports or destinations has the packet's.
func (q Inquiry) IsListed(option string) bool {
	return slices.ContainsFunc(q.Given(option), func(item string) bool {
		return item == "*" || isIn(item, q.Packet.Destination) || isPort(item, q.Packet.DestinationPort)
	})
}

// Exempted returns the reason if the rule that exempts the packet comes from one of these
// options, which o names with the items that cover the packet.
func (q Inquiry) Exempted(o iptables.Origin) (why explain.Reason, ok bool) {
	p := q.Packet
	switch o.Option {
	case "--excluded-ports", "--excluded-outbound-ports":
		return TakeOut(o, fmt.Sprintf("port %d", p.DestinationPort), fmt.Sprint(p.DestinationPort)), true
	case "--excluded-cidrs":
		return TakeOut(o, fmt.Sprintf("destination %s", p.Destination), o.Value), true
	case "--excluded-source-cidrs":
		return TakeOut(o, fmt.Sprintf("client %s", p.Source), o.Value), true
	case "--excluded-interfaces":
		return TakeOut(o, "interface "+p.In+p.Out, o.Value), true
	case "--tunnel-port":
		return explain.Final(fmt.Sprintf("port %d is the proxy's own, for tunnelled connections (%s)", p.DestinationPort, o), ""), true
	case "--virtual-interfaces":
		return q.ofVirtualMachine(o), true
	}
	return explain.Reason{}, false
}

// TakeOut is the reason where an option excludes something: an item can be taken out of it.
func TakeOut(o iptables.Origin, what, item string) explain.Reason {
	return explain.Reason{Why: fmt.Sprintf("%s is excluded by %s", what, o), Change: fmt.Sprintf("take %s out of %s", item, o.Option)}
}

// isOfMachine reports whether the packet comes in by an interface of --virtual-interfaces.
func (q Inquiry) isOfMachine() bool {
	in, _ := q.Packet.Value(iptables.InInterface)
	return q.Packet.Hook == iptables.Prerouting && slices.ContainsFunc(q.RulesOf("--virtual-interfaces"), func(r iptables.Rule) bool {
		return slices.ContainsFunc(r.Named(iptables.InInterface), func(i iptables.Interval) bool { return i.Contains(in) })
	})
}

// LeavesMachines returns the reason if the packet comes from a virtual machine, whose DNS queries
// are not captured.
func (q Inquiry) LeavesMachines() (why explain.Reason, ok bool) {
	if q.Packet.Hook != iptables.Prerouting || len(q.Given(OptionRedirectVirtualDNS)) > 0 {
		return explain.Reason{}, false
	}
	return explain.Reason{
		Final:  true,
		Why:    fmt.Sprintf("DNS queries that come in via %s are not captured: %s is not set", q.Packet.In, OptionRedirectVirtualDNS),
		Change: "set " + OptionRedirectVirtualDNS,
	}, true
}

// ofVirtualMachine is about what a virtual machine behind the pod sends. It counts as
// outbound only.
func (q Inquiry) ofVirtualMachine(o iptables.Origin) explain.Reason {
	p := q.Packet
	if slices.Contains(q.Given("--included-cidrs"), "*") {
		return explain.Final(fmt.Sprintf("what comes in via %s is outbound traffic (%s)", p.In, o), "")
	}
	return explain.Reason{Final: true,
		Why:    fmt.Sprintf("what comes in via %s is outbound traffic (%s), and %s", p.In, o, q.notIncluded()),
		Change: fmt.Sprintf("add %s to --included-cidrs", p.Destination)}
}

// IsOneOf reports whether an item of an option's list covers the packet.
func IsOneOf(option, item string, p *iptables.Packet) bool {
	switch option {
	case "--excluded-ports", "--excluded-outbound-ports":
		return isPort(item, p.DestinationPort)
	case "--excluded-cidrs":
		return isIn(item, p.Destination)
	case "--excluded-source-cidrs":
		return isIn(item, p.Source)
	case "--excluded-interfaces", "--virtual-interfaces":
		return item != "" && iptables.Interface{Name: item}.MetBy(p.In+p.Out)
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
