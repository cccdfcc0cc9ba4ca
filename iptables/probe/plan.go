package probe

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// The connections to try follow from walking packets through the rules. So only one place
// decides what captures what, and installed rules do as well as planned ones.

// planner collects the attempts of one family.
type planner struct {
	rules     *iptables.Ruleset
	policy    Policy
	family    iptables.Family
	addresses []netip.Addr // the namespace's, of any family
	own       netip.Addr   // the first by which others can reach the namespace, if valid
	outside   string       // the interface by which someone outside comes in
	// ordinaryID is a user and group that no rule names.
	ordinaryID uint32
	proxy      *identity // nil if no rule tells who the proxy is
	lookUp     func(netip.Addr) route
	routes     map[netip.Addr]route
	ports      map[string]knownPorts // by hook
	attempts   []*attempt
	untried    []Step
}

// plan returns what to try, and steps for what the rules capture but no attempt can test.
func plan(ctx context.Context, ns *namespace.Namespace, want Want) (attempts []*attempt, untried []Step) {
	own := want.Ownership.Of(want.Rules)
	in, ordinaryID := outsideName(), explain.OrdinaryID(&installed.Path{Rules: own})
	for _, f := range iptables.Families() {
		p := planner{
			rules: &own, policy: want.Policy, family: f, outside: in, ordinaryID: ordinaryID,
			lookUp: func(a netip.Addr) route { return lookUpRoute(ctx, ns, a) },
			routes: make(map[netip.Addr]route), ports: make(map[string]knownPorts),
		}
		for _, prefix := range want.Addresses {
			p.addresses = append(p.addresses, prefix.Addr())
		}
		if all := want.Ownership.Reachable(f, want.Addresses); len(all) > 0 {
			p.own = all[0]
		}
		p.plan()
		attempts = append(attempts, p.attempts...)
		untried = append(untried, p.untried...)
	}
	return attempts, untried
}

func (p *planner) plan() {
	query, captured := p.capturedQuery()
	p.planOutbound(query.port)
	p.planInbound()
	p.planSelf()
	if captured {
		p.planDNS(query)
	} else {
		p.untriedIfCaptured("DNS", iptables.Output, iptables.UDP)
	}
}

// untriedIfCaptured records that nothing is tried although there are capturing rules.
func (p *planner) untriedIfCaptured(name, hook string, protocol iptables.Protocol) {
	if len(p.capturing(hook, protocol)) == 0 {
		return
	}
	p.untried = append(p.untried, Step{
		Name: name, Family: p.family.String(), Protocol: protocol, Outcome: Unknown,
		Detail: "there are capturing rules, but they match none of the connections considered",
	})
}

// untriedOf records that not all of a list was tried.
func (p *planner) untriedOf(name, what string, tried, all int) {
	if tried == all {
		return
	}
	p.untried = append(p.untried, Step{
		Name: name, Family: p.family.String(), Protocol: iptables.TCP, Outcome: Unknown,
		Detail: fmt.Sprintf("%d of %d listed %s tried", tried, all, what),
	})
}

func (p *planner) add(a attempt) {
	if a.protocol == "" {
		a.protocol = iptables.TCP
	}
	a.family = p.family
	a.listener = identity{uid: p.ordinaryID, gid: p.ordinaryID}
	if proxys := a.want != 0 || a.instead != 0; proxys && p.proxy != nil {
		a.listener = *p.proxy
	}
	p.attempts = append(p.attempts, &a)
}

// query is a captured DNS query.
type query struct {
	server netip.Addr
	port   uint16
	who    identity
}

// capturedQuery returns a DNS query over UDP that the rules capture. They capture no
// other datagrams.
func (p *planner) capturedQuery() (q query, ok bool) {
	servers, applications := nobodys(p.family), p.applications()
	for _, n := range p.networks(iptables.UDP) {
		servers = append(servers, p.within(n)...)
	}
	for _, server := range servers {
		for _, who := range applications {
			if port := p.arrives(iptables.UDP, netip.AddrPortFrom(server, iptables.DNSPort), who); port != 0 {
				return query{server, port, who}, true
			}
		}
	}
	return query{}, false
}

func (p *planner) planDNS(q query) {
	to := netip.AddrPortFrom(q.server, iptables.DNSPort)
	p.add(attempt{name: "DNS", protocol: iptables.UDP, to: to, who: q.who, want: q.port})
	if port := p.arrives(iptables.TCP, to, q.who); port != 0 {
		p.add(attempt{name: "DNS", to: to, who: q.who, want: port})
	}
	if p.proxy != nil && p.arrives(iptables.UDP, to, *p.proxy) == 0 {
		p.add(attempt{name: "proxy's DNS", protocol: iptables.UDP, to: to, who: *p.proxy, instead: q.port})
	}
}

// findProxy returns the first possible proxy whose connections are left alone where
// somebody else's are captured.
func (p *planner) findProxy(to netip.AddrPort, captured identity) *identity {
	for _, x := range p.policy.Proxies(p.rules, p.family) {
		who := newProxy(x, p.ordinaryID)
		if !to.IsValid() || who.isUnlike(captured) && p.arrives(iptables.TCP, to, who) == 0 {
			return &who
		}
	}
	return nil
}

// arrives returns the port to which the rules redirect a user's packets, or 0.
func (p *planner) arrives(protocol iptables.Protocol, to netip.AddrPort, who identity) uint16 {
	by := p.routeTo(to.Addr())
	r := p.walk(p.sent(protocol, by.source, to, who, by.out))
	if r.Verdict != explain.Redirected {
		return 0
	}
	return r.Port
}

// ephemeral is a port as the kernel gives it to clients.
const ephemeral = 40000

const loopback = "lo"

func (p *planner) sent(protocol iptables.Protocol, from netip.Addr, to netip.AddrPort, who identity, out string) iptables.Packet {
	return iptables.Packet{
		Hook: iptables.Output, Protocol: protocol, Out: out,
		Source: from, SourcePort: ephemeral, Destination: to.Addr(), DestinationPort: to.Port(),
		Owner: &iptables.SocketOwner{UID: who.uid, GID: who.gid}, Mark: who.mark,
	}
}

// walk returns how the rules handle the first packet of a connection. If that is unknown,
// it counts as not captured.
func (p *planner) walk(packet iptables.Packet) explain.Result {
	if packet.Protocol == "" {
		packet.Protocol = iptables.TCP
	}
	packet.State = iptables.StateNew
	r := explain.Walk(p.rules, packet)
	if r.Verdict == explain.Unknown {
		return explain.Result{Verdict: explain.Bypassed}
	}
	return r
}

// step returns the attempt as it is reported.
func (a *attempt) step() Step {
	s := Step{
		Name: a.name, Family: a.family.String(), Protocol: a.protocol,
		Who: a.who.String(), From: a.from, To: a.to, Want: a.want,
	}
	if a.byGroup {
		s.Who += fmt.Sprintf(", group %d", a.who.gid)
	}
	if a.isOutside() {
		s.Who = "someone outside"
	}
	return s
}
