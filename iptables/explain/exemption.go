package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
)

// exempt tells why the rule of a step lets the packet go, by the option that the
// rule comes from.
func (q *inquiry) exempt(s Step) Reason {
	p, o := q.packet, item(&s.Rule, q.packet)
	takeOut := func(what, item string) Reason {
		return Reason{Why: fmt.Sprintf("%s is excluded by %s", what, o), Change: fmt.Sprintf("take %s out of %s", item, o.Option)}
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
	case "--excluded-uids":
		return takeOut(fmt.Sprintf("traffic of user %d", p.Owner.UID), o.Value)
	case "--excluded-groups":
		return takeOut(fmt.Sprintf("group %d", p.Owner.GID), o.Value)
	case "--included-groups":
		return Reason{Why: fmt.Sprintf("group %d is not in %s", p.Owner.GID, o), Change: fmt.Sprintf("add %d to %s", p.Owner.GID, o.Option)}
	case "--proxy-uid", "--proxy-gid":
		return q.proxyTraffic(s)
	case "--tunnel-port":
		return final(fmt.Sprintf("port %d is the proxy's own, for tunnelled connections (%s)", p.DestinationPort, o), "")
	case "--tproxy-mark":
		return final(fmt.Sprintf("mark %#x is that of connections which the proxy has already (%s)", p.Mark, o), "")
	case "--virtual-interfaces":
		return q.ofVirtualMachine(s)
	case "--loopback-cidr":
		return final(fmt.Sprintf("destination %s is the pod itself (%s)", p.Destination, o), "")
	case iptables.BuiltIn:
		return q.builtIn(s)
	}
	return final(fmt.Sprintf("rule %d of %s %s, which is not of meshtables' making, comes first: %s", s.Position, s.Table, s.Chain, s.Rule),
		"remove that rule, or let its author exempt less")
}

// builtIn is about the exemptions that no option makes.
func (q *inquiry) builtIn(s Step) Reason {
	p := q.packet
	switch {
	case s.Rule.Source != (iptables.Address{}):
		return final(fmt.Sprintf("%s is where the proxy connects to the application from: captured, it would go round in circles", p.Source), "")
	case p.Hook == iptables.Prerouting:
		return final("what comes in by lo is a connection from the pod to itself, which is not captured unless the proxy makes it to the pod's own address", "")
	}
	return final(fmt.Sprintf("destination %s is the pod itself", p.Destination), "")
}

// proxyTraffic is about the rules around the proxy's user or group: those that
// let go whatever it sends, and those that leave lo to everybody else.
func (q *inquiry) proxyTraffic(s Step) Reason {
	p, o := q.packet, item(&s.Rule, q.packet)
	if s.Rule.Out != (iptables.Interface{}) {
		return final(fmt.Sprintf("connections from the pod to itself are not captured, unless the proxy (%s) makes them to the pod's own address", o),
			"connect by the address of a service")
	}
	who, id := "user", p.Owner.UID
	if o.Option == "--proxy-gid" {
		who, id = "group", p.Owner.GID
	}
	return final(fmt.Sprintf("%s %d is the proxy's (%s): captured, its traffic would go round in circles", who, id, o),
		"if this is not the proxy, run it as another "+who)
}

// ofVirtualMachine is about what a virtual machine behind the pod sends: it counts
// as outbound only.
func (q *inquiry) ofVirtualMachine(s Step) Reason {
	p, o := q.packet, item(&s.Rule, q.packet)
	if slices.Contains(q.given("--included-cidrs"), "*") {
		return final(fmt.Sprintf("what comes in by %s is outbound traffic (%s)", p.In, o), "")
	}
	return Reason{final: true,
		Why:    fmt.Sprintf("what comes in by %s is outbound traffic (%s), and %s", p.In, o, q.notIncluded()),
		Change: fmt.Sprintf("add %s to --included-cidrs", p.Destination)}
}

// notInbound is about a connection that no inbound rule takes.
func (q *inquiry) notInbound() Reason {
	p := q.packet
	ports := q.given("--included-ports")
	switch {
	case len(ports) == 0:
		return Reason{Why: "no inbound port is captured: --included-ports is empty",
			Change: fmt.Sprintf("add %d to --included-ports, or make it *", p.DestinationPort)}
	case !q.isListed("--included-ports"):
		return Reason{Why: fmt.Sprintf("port %d is not in --included-ports=%s", p.DestinationPort, strings.Join(ports, ",")),
			Change: fmt.Sprintf("add %d to --included-ports", p.DestinationPort)}
	case p.Destination.IsLoopback() || q.isListed("--loopback-cidr"):
		return final(fmt.Sprintf("destination %s is the pod itself", p.Destination), "")
	}
	return q.altered("--included-ports")
}

// notDNS is about a query to a name server that is none of those captured.
func (q *inquiry) notDNS() Reason {
	p := q.packet
	if !q.capturesDNS() {
		// Which servers resolv.conf names, the rules do not tell.
		return Reason{Why: "DNS is not captured: --redirect-dns is not given",
			Change: fmt.Sprintf("give --redirect-dns, and --capture-all-dns too unless resolv.conf names %s", p.Destination)}
	}
	servers := slices.DeleteFunc(q.given("--redirect-dns"), func(v string) bool { return v == "" })
	switch {
	case len(q.given("--capture-all-dns")) > 0:
		return q.altered("--capture-all-dns")
	case slices.Contains(servers, p.Destination.String()):
		return q.altered("--redirect-dns")
	case len(servers) == 0:
		return Reason{Why: fmt.Sprintf("resolv.conf names no %s server", p.Family()),
			Change: "ask a server that resolv.conf names, or give --capture-all-dns"}
	}
	return Reason{Why: fmt.Sprintf("name server %s is not in resolv.conf, which has %s (--redirect-dns)", p.Destination, strings.Join(servers, ", ")),
		Change: fmt.Sprintf("ask %s, name %s in resolv.conf and apply again, or give --capture-all-dns", servers[0], p.Destination)}
}

func (q *inquiry) capturesDNS() bool {
	return len(q.given("--redirect-dns")) > 0 || len(q.given("--capture-all-dns")) > 0
}

// notOutbound is about a destination that nothing includes.
func (q *inquiry) notOutbound() Reason {
	p := q.packet
	for _, option := range []string{"--included-cidrs", "--included-outbound-ports"} {
		if q.isListed(option) {
			return q.altered(option)
		}
	}
	return Reason{Why: q.notIncluded(),
		Change: fmt.Sprintf("add %s to --included-cidrs, or %d to --included-outbound-ports", p.Destination, p.DestinationPort)}
}

func (q *inquiry) notIncluded() string {
	why := fmt.Sprintf("destination %s is not in --included-cidrs=%s", q.packet.Destination, strings.Join(q.given("--included-cidrs"), ","))
	if ports := q.given("--included-outbound-ports"); len(ports) > 0 {
		why += fmt.Sprintf(" and port %d not in --included-outbound-ports=%s", q.packet.DestinationPort, strings.Join(ports, ","))
	}
	return why
}
