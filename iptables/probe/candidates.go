package probe

import (
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/compact"
)

// maxCandidates bounds how many values of one kind are looked at: options may list
// thousands.
const maxCandidates = 32

// ordinaryID is the user and group nobody, which are neither the proxy's nor root.
const ordinaryID = 65534

// each calls f for every rule of the family that is ours.
func (p *planner) each(f func(iptables.Rule)) {
	for _, t := range p.rules.Tables {
		if t.Family != p.family {
			continue
		}
		for _, c := range t.Chains {
			for _, r := range c.Rules {
				f(r)
			}
		}
	}
}

// destinations returns addresses that may be captured: one from documentation
// (RFC 5737, RFC 3849), as nobody has that, and those of rules that capture.
func (p *planner) destinations() []netip.Addr {
	all := []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	if p.family == iptables.IPv6 {
		all[0] = netip.MustParseAddr("2001:db8::1")
	}
	p.each(func(r iptables.Rule) {
		captured, not, ok := compact.Values(r, iptables.DestinationAddress)
		if _, decides := r.Target.(iptables.Verdict); decides || !ok || not {
			return
		}
		for _, i := range captured {
			first, last := addressOf(i.First), addressOf(i.Last)
			for _, a := range []netip.Addr{first, first.Next(), last} {
				if a.Compare(last) <= 0 && !a.IsUnspecified() && !a.IsMulticast() {
					all = appendNew(all, a)
				}
			}
		}
	})
	return all
}

func addressOf(v iptables.Value) netip.Addr {
	a, _ := netip.AddrFromSlice([]byte(v))
	return a
}

// ports returns ports that may be captured: some, as those may be excluded, and
// those of rules that capture.
func (p *planner) ports() []uint16 {
	all := []uint16{80, 8080, 1024, 3000, 49151}
	p.each(func(r iptables.Rule) {
		captured, not, ok := compact.Values(r, iptables.DestinationPort)
		if _, decides := r.Target.(iptables.Verdict); decides || !ok || not {
			return
		}
		for _, i := range captured {
			all = appendNew(all, i.Ports().First)
		}
	})
	return all
}

// sources returns the single addresses of the machine itself that rules mention as
// source.
func (p *planner) sources() []netip.Addr {
	var all []netip.Addr
	p.each(func(r iptables.Rule) {
		if r.Source.Prefix.IsSingleIP() && !r.Source.Not && r.Out.Name == loopback {
			all = appendNew(all, r.Source.Prefix.Addr())
		}
	})
	return all
}

// users returns those that rules mention.
func (p *planner) users() []uint32 {
	return p.appendOwners(nil, iptables.OwnerUID)
}

// ordinary returns users and groups that may be captured. Rules may capture only
// some groups.
func (p *planner) ordinary() []identity {
	groups := p.appendOwners([]uint32{ordinaryID, ordinaryID - 1}, iptables.OwnerGID)
	proxy := p.users()
	var all []identity
	for _, uid := range []uint32{ordinaryID, ordinaryID - 1} {
		if slices.Contains(proxy, uid) {
			continue
		}
		for _, gid := range groups {
			all = append(all, identity{uid, gid})
		}
	}
	return all
}

// appendOwners appends the users or groups that rules mention, of a range the first.
func (p *planner) appendOwners(all []uint32, f iptables.SetField) []uint32 {
	p.each(func(r iptables.Rule) {
		for _, i := range compact.Named(r, f) {
			id, _ := i.IDs()
			all = appendNew(all, id)
		}
	})
	return all
}

func appendNew[T comparable](all []T, x T) []T {
	if len(all) == maxCandidates || slices.Contains(all, x) {
		return all
	}
	return append(all, x)
}

// isOwn reports whether an address is one of the namespace's own.
func (p *planner) isOwn(a netip.Addr) bool { return slices.Contains(p.addresses, a) }

// ownAddress returns the first address by which others can reach the namespace.
func ownAddress(addresses []netip.Addr, f iptables.Family) netip.Addr {
	for _, a := range addresses {
		if iptables.FamilyOf(a) == f && iptables.IsReachable(a) {
			return a
		}
	}
	return netip.Addr{}
}

// route is by which interface and from which address packets go somewhere.
type route struct {
	out    string
	source netip.Addr
}

// routeTo returns the route to an address. What the machine sends to itself it
// sends from there too.
func (p *planner) routeTo(a netip.Addr) route {
	if a.IsLoopback() || p.isOwn(a) {
		return route{loopback, a}
	}
	r, known := p.routes[a]
	if !known {
		r = lookUpRoute(a)
		p.routes[a] = r
	}
	return r
}

// lookUpRoute asks the kernel. Where there is no route packets go nowhere; then it
// is a guess that a rule about all of them will not contradict.
func lookUpRoute(a netip.Addr) route {
	r := route{"eth0", iptables.FamilyOf(a).Unspecified()}
	routes, err := netlink.RouteGet(a.AsSlice())
	if err != nil || len(routes) == 0 {
		return r
	}
	if link, err := netlink.LinkByIndex(routes[0].LinkIndex); err == nil {
		r.out = link.Attrs().Name
	}
	if source, ok := netip.AddrFromSlice(routes[0].Src); ok {
		r.source = source.Unmap()
	}
	return r
}
