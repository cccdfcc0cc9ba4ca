package probe

import (
	"net/netip"
	"slices"

	"github.com/meshtables/meshtables/iptables"
)

// outbound looks for connections of one identity that the rules send to the proxy, but
// not to its DNS port.
type outbound struct {
	*planner
	who identity
	dns uint16
}

// planOutbound plans a captured connection or, if rules list ports, networks or groups,
// one for each of these. The proxy's own connection to such a place must be left alone.
func (p *planner) planOutbound(dns uint16) {
	applications := p.applications()
	for i, who := range applications {
		o := outbound{p, who, dns}
		places := o.places()
		if len(places) == 0 {
			continue
		}
		p.proxy = p.findProxy(places[0], who)
		o.add(places[0])
		if p.proxy != nil {
			p.add(attempt{name: "proxy's outbound", to: places[0], who: *p.proxy, instead: o.arrives(places[0])})
		}
		for _, to := range places[1:] {
			o.add(to)
		}
		if i > 0 {
			// Users in no group that rules name are not captured.
			o.otherGroups(places[0], applications[i:])
		}
		return
	}
	p.proxy = p.findProxy(netip.AddrPort{}, identity{})
	p.untriedIfCaptured("outbound", iptables.Output, iptables.TCP)
}

func (o outbound) add(to netip.AddrPort) {
	o.planner.add(attempt{name: "outbound", to: to, who: o.who, byGroup: o.who.gid != o.ordinaryID, want: o.arrives(to)})
}

func (o outbound) arrives(to netip.AddrPort) uint16 {
	if port := o.planner.arrives(iptables.TCP, to, o.who); port != o.dns {
		return port
	}
	return 0
}

// places returns destinations whose connections are captured.
func (o outbound) places() []netip.AddrPort {
	networks := o.networks(iptables.TCP)
	places, everywhere := o.elsewhere(networks)
	if everywhere {
		return places
	}
	listed, all := firstOf(networks, o.inNetwork)
	o.untriedOf("outbound", "networks", len(listed), all)
	for _, to := range listed {
		if !slices.Contains(places, to) {
			places = append(places, to)
		}
	}
	return places
}

// elsewhere returns places outside all networks, and whether all their ports are
// captured.
func (o outbound) elsewhere(networks []addresses) (places []netip.AddrPort, everywhere bool) {
	for _, a := range nobodys(o.family) {
		if slices.ContainsFunc(networks, func(i addresses) bool { return i.contains(a) }) {
			continue
		}
		ports := o.portsTo(a)
		for _, port := range ports.tried {
			places = append(places, netip.AddrPortFrom(a, port))
		}
		if len(places) > 0 {
			o.untriedOf("outbound", "ports", len(ports.tried), ports.all)
			return places, !ports.listed
		}
	}
	return nil, false
}

// inNetwork returns a place in a network.
func (o outbound) inNetwork(n addresses) (to netip.AddrPort, ok bool) {
	for _, a := range o.within(n) {
		if a.IsLoopback() || o.isOwn(a) {
			continue
		}
		if ports := o.portsTo(a).tried; len(ports) > 0 {
			return netip.AddrPortFrom(a, ports[0]), true
		}
	}
	return to, false
}

func (o outbound) portsTo(a netip.Addr) ports {
	return o.capturedPorts(iptables.Output, func(port uint16) bool {
		return o.arrives(netip.AddrPortFrom(a, port)) != 0
	})
}

// otherGroups plans the same connection for others whose group is captured too. The first
// identity has its plan already.
func (o outbound) otherGroups(to netip.AddrPort, all []identity) {
	captured, n := firstOf(all, func(who identity) (outbound, bool) {
		other := outbound{o.planner, who, o.dns}
		return other, other.arrives(to) != 0
	})
	for _, other := range captured[1:] {
		other.add(to)
	}
	o.untriedOf("outbound", "groups", len(captured), n)
}
