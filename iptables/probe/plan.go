package probe

import (
	"fmt"
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
)

// The connections to try follow from the rules by walking packets through them:
// what captures what is decided in one place only, and rules that were found
// installed do as well as rules that were planned.

// planner collects the attempts of one family.
type planner struct {
	rules     *iptables.Ruleset
	family    iptables.Family
	addresses []netip.Addr // of the namespace, of any family
	outside   string       // the interface by which someone outside comes in
	proxy     *identity    // nil where no rule tells who the proxy is
	routes    map[netip.Addr]route
	attempts  []*attempt
}

func plan(want Want) []*attempt {
	own := want.Rules.Own()
	in := outsideName()
	var all []*attempt
	for _, f := range iptables.Families() {
		p := planner{rules: &own, family: f, outside: in, routes: make(map[netip.Addr]route)}
		for _, prefix := range want.Addresses {
			p.addresses = append(p.addresses, prefix.Addr())
		}
		p.plan()
		all = append(all, p.attempts...)
	}
	return all
}

func (p *planner) plan() {
	query, captured := p.capturedQuery()
	to, who, port := p.capturedDestination(query.port)
	p.proxy = p.findProxy(to, who)
	if to.IsValid() {
		p.add(attempt{name: "outbound", to: to, who: who, want: port})
		if p.proxy != nil {
			p.add(attempt{name: "proxy's outbound", to: to, who: *p.proxy, instead: port})
		}
	}
	p.planInbound()
	p.planSelf()
	if captured {
		p.planDNS(query)
	}
}

func (p *planner) add(a attempt) {
	if a.protocol == "" {
		a.protocol = iptables.TCP
	}
	a.family = p.family
	a.listener = identity{ordinaryID, ordinaryID}
	if proxys := a.want != 0 || a.instead != 0; proxys && p.proxy != nil {
		a.listener = *p.proxy
	}
	p.attempts = append(p.attempts, &a)
}

// planInbound plans a connection of someone outside to the first address and port
// that are captured.
func (p *planner) planInbound() {
	own := ownAddress(p.addresses, p.family)
	if !own.IsValid() {
		own = insideAddress(p.family)
	}
	for _, port := range p.ports() {
		to := netip.AddrPortFrom(own, port)
		r := p.walk(explain.Packet{
			Hook: iptables.Prerouting, In: p.outside, Source: outsideAddress(p.family), SourcePort: ephemeral,
			Destination: own, DestinationPort: port,
		})
		if r.Verdict == explain.Redirected || r.Verdict == explain.TProxied {
			p.add(attempt{
				name: "inbound", to: to, in: p.outside, want: r.Port, transparent: r.Verdict == explain.TProxied,
			})
			if r.Verdict == explain.TProxied && p.isOwn(own) {
				p.planClient(own, r.Mark)
			}
			return
		}
	}
}

// planClient plans what TPROXY needs routing for: the proxy, which is root there,
// connects to the application as the client, with the client's address and the
// mark, and the application's answers have to come back to it.
func (p *planner) planClient(own netip.Addr, mark uint32) {
	root, client := identity{0, ordinaryID}, outsideAddress(p.family)
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
	for _, port := range p.ports() {
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

// query is a DNS query that is captured.
type query struct {
	server netip.Addr
	port   uint16
	who    identity
}

const dnsPort = 53

// capturedQuery returns a DNS query over UDP that the rules capture. No other
// datagrams are.
func (p *planner) capturedQuery() (q query, ok bool) {
	for _, server := range p.destinations() {
		for _, who := range p.ordinary() {
			if port := p.arrives(iptables.UDP, netip.AddrPortFrom(server, dnsPort), who); port != 0 {
				return query{server, port, who}, true
			}
		}
	}
	return query{}, false
}

func (p *planner) planDNS(q query) {
	to := netip.AddrPortFrom(q.server, dnsPort)
	p.add(attempt{name: "DNS", protocol: iptables.UDP, to: to, who: q.who, want: q.port})
	if port := p.arrives(iptables.TCP, to, q.who); port != 0 {
		p.add(attempt{name: "DNS", to: to, who: q.who, want: port})
	}
	if p.proxy != nil && p.arrives(iptables.UDP, to, *p.proxy) == 0 {
		p.add(attempt{name: "proxy's DNS", protocol: iptables.UDP, to: to, who: *p.proxy, instead: q.port})
	}
}

// capturedDestination returns a place that the rules send to the proxy, not to
// its DNS port, when an ordinary application connects to it.
func (p *planner) capturedDestination(dns uint16) (to netip.AddrPort, who identity, port uint16) {
	for _, a := range p.destinations() {
		if a.IsLoopback() || p.isOwn(a) {
			continue
		}
		for _, port := range p.ports() {
			for _, who := range p.ordinary() {
				to := netip.AddrPortFrom(a, port)
				if at := p.arrives(iptables.TCP, to, who); at != 0 && at != dns {
					return to, who, at
				}
			}
		}
	}
	return netip.AddrPort{}, identity{}, 0
}

// findProxy returns the first user in the rules whose connections are not
// captured where those of somebody else are.
func (p *planner) findProxy(to netip.AddrPort, captured identity) *identity {
	for _, uid := range p.users() {
		who := identity{uid, ordinaryID}
		if !to.IsValid() || uid != captured.uid && p.arrives(iptables.TCP, to, who) == 0 {
			return &who
		}
	}
	return nil
}

// arrives returns the port to which the rules redirect what a user sends, or 0.
func (p *planner) arrives(protocol iptables.Protocol, to netip.AddrPort, who identity) uint16 {
	by := p.routeTo(to.Addr())
	r := p.walk(p.sent(protocol, by.source, to, who, by.out))
	if r.Verdict != explain.Redirected {
		return 0
	}
	return r.Port
}

// ephemeral is a port as the kernel gives it to who connects.
const ephemeral = 40000

const loopback = "lo"

func (p *planner) sent(protocol iptables.Protocol, from netip.Addr, to netip.AddrPort, who identity, out string) explain.Packet {
	return explain.Packet{
		Hook: iptables.Output, Protocol: protocol, Out: out,
		Source: from, SourcePort: ephemeral, Destination: to.Addr(), DestinationPort: to.Port(),
		Owner: &explain.Owner{UID: who.uid, GID: who.gid},
	}
}

// walk returns what becomes of the first packet of a connection. What cannot be
// told counts as not captured.
func (p *planner) walk(packet explain.Packet) explain.Result {
	if packet.Protocol == "" {
		packet.Protocol = iptables.TCP
	}
	packet.State = iptables.StateNew
	r, err := explain.Walk(p.rules, packet)
	if err != nil {
		return explain.Result{Verdict: explain.Bypassed}
	}
	return r
}

// step returns the attempt as it is reported.
func (a *attempt) step() Step {
	s := Step{
		Name: a.name, Family: a.family.String(), Protocol: a.protocol,
		Who: fmt.Sprintf("user %d", a.who.uid), From: a.from, To: a.to, Want: a.want,
	}
	if a.in != "" {
		s.Who = "someone outside"
	}
	return s
}
