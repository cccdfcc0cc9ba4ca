package probe

import (
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
)

// planInbound plans a captured connection from outside or, if rules list ports, one for
// each of these.
func (p *planner) planInbound() {
	for _, by := range linksOutside(p.outside, p.family) {
		a := p.own
		if !a.IsValid() {
			a = by.near
		}
		comesIn := func(port uint16) explain.Result { return p.walk(by.received(netip.AddrPortFrom(a, port))) }
		ports := p.capturedPorts(iptables.Prerouting, func(port uint16) bool { return comesIn(port).Port != 0 })
		for i, port := range ports.tried {
			r := comesIn(port)
			transparent := r.Verdict == explain.TProxied
			p.add(attempt{name: "inbound", to: netip.AddrPortFrom(a, port), by: by, want: r.Port, transparent: transparent})
			switch {
			case i > 0 || !p.isOwn(a):
			case transparent:
				// The proxy is root there.
				p.planClient(a, by.far, identity{gid: p.ordinaryID}, r.Mark)
			case p.proxy != nil && p.proxy.mark != 0:
				p.planClient(a, by.far, *p.proxy, p.proxy.mark)
			}
		}
		if len(ports.tried) > 0 {
			p.untriedOf("inbound", "ports", len(ports.tried), ports.all)
			return
		}
	}
	p.untriedIfCaptured("inbound", iptables.Prerouting, iptables.TCP)
}

// planClient plans the connection that needs routing: the proxy connects to the application
// with the client's address and a mark, and the application's answers have to come back to
// the proxy.
func (p *planner) planClient(own, client netip.Addr, proxy identity, mark uint32) {
	packet := p.sent(iptables.TCP, client, netip.AddrPortFrom(own, 80), proxy, loopback)
	packet.Mark = mark
	if p.walk(packet).Verdict == explain.Bypassed {
		p.add(attempt{name: "proxy as client", to: netip.AddrPortFrom(own, 0), who: proxy, from: client, mark: mark})
	}
}

// planSelf plans the proxy's connections within the namespace. If an application calls
// itself by its service's address, the proxy connects from the namespace's own address,
// and the connection comes in again. The proxy's connections to the application come from
// an address of their own and must not come in again.
func (p *planner) planSelf() {
	own := p.own
	if p.proxy == nil || !own.IsValid() {
		return
	}
	again := func(port uint16) explain.Result {
		return p.walk(p.sent(iptables.TCP, own, netip.AddrPortFrom(own, port), *p.proxy, loopback))
	}
	ports := p.capturedPorts(iptables.Output, func(port uint16) bool { return again(port).Verdict == explain.Redirected })
	if len(ports.tried) == 0 {
		return
	}
	to := netip.AddrPortFrom(own, ports.tried[0])
	p.add(attempt{name: "proxy to itself", to: to, who: *p.proxy, want: again(to.Port()).Port})
	source := p.policy.Source(p.family)
	if source.IsValid() && p.walk(p.sent(iptables.TCP, source, to, *p.proxy, loopback)).Verdict == explain.Bypassed {
		p.add(attempt{name: "proxy to application", to: netip.AddrPortFrom(own, 0), who: *p.proxy, from: source})
	}
}
