package probe

import (
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
)

// planInbound plans a connection of someone outside to the first port that is
// captured.
func (p *planner) planInbound() {
	own, ports := ownAddress(p.addresses, p.family), p.ports(iptables.Prerouting)
	for _, ends := range linksOutside(p.outside, p.family) {
		a := own
		if !a.IsValid() {
			a = ends.near
		}
		for _, port := range ports {
			if r := p.walk(ends.received(netip.AddrPortFrom(a, port))); r.Port != 0 {
				p.addInbound(ends, netip.AddrPortFrom(a, port), r)
				return
			}
		}
	}
	p.untriedIfCaptured("inbound", iptables.Prerouting, iptables.TCP)
}

func (p *planner) addInbound(by linkOutside, to netip.AddrPort, r explain.Result) {
	transparent := r.Verdict == explain.TProxied
	p.add(attempt{name: "inbound", to: to, by: by, want: r.Port, transparent: transparent})
	if transparent && p.isOwn(to.Addr()) {
		p.planClient(to.Addr(), by.far, r.Mark)
	}
}

// planClient plans what TPROXY needs routing for: the proxy, which is root there,
// connects to the application as the client, with the client's address and the
// mark, and the application's answers have to come back to it.
func (p *planner) planClient(own, client netip.Addr, mark uint32) {
	root := identity{0, p.ordinaryID}
	packet := p.sent(iptables.TCP, client, netip.AddrPortFrom(own, 80), root, loopback)
	packet.Mark = mark
	if p.walk(packet).Verdict == explain.Bypassed {
		p.add(attempt{name: "proxy as client", to: netip.AddrPortFrom(own, 0), who: root, from: client, mark: mark})
	}
}

// planSelf plans what the proxy connects to in the namespace itself. An
// application that calls itself by its service's address has the proxy do so from
// the namespace's own address; that comes in again. The proxy's connections to the
// application come from an address of their own and must not.
func (p *planner) planSelf() {
	own := ownAddress(p.addresses, p.family)
	if p.proxy == nil || !own.IsValid() {
		return
	}
	for _, port := range p.ports(iptables.Output) {
		to := netip.AddrPortFrom(own, port)
		r := p.walk(p.sent(iptables.TCP, own, to, *p.proxy, loopback))
		if r.Verdict != explain.Redirected {
			continue
		}
		p.add(attempt{name: "proxy to itself", to: to, who: *p.proxy, want: r.Port})
		for _, source := range p.sources() {
			if p.walk(p.sent(iptables.TCP, source, to, *p.proxy, loopback)).Verdict == explain.Bypassed {
				p.add(attempt{
					name: "proxy to application", to: netip.AddrPortFrom(own, 0), who: *p.proxy, from: source,
				})
				return
			}
		}
		return
	}
}
