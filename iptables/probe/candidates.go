package probe

import (
	"context"
	"net/netip"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/rtnetlink"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// maxCandidates limits how many addresses of one kind are considered: options may list
// thousands.
const maxCandidates = 32

// named returns the values of a field that rules name, also to leave them alone.
func (p *planner) named(f iptables.SetField) []iptables.Interval { return p.rules.Named(p.family, f) }

// listed returns the values of a field that capturing rules match.
func (p *planner) listed(hook string, protocol iptables.Protocol, f iptables.SetField) []iptables.Interval {
	var all []iptables.Interval
	for _, r := range p.capturing(hook, protocol) {
		if values, not, ok := r.Values(f); ok && !not {
			all = append(all, values...)
		}
	}
	return all
}

// documentation returns the networks for documentation, which nobody has (RFC 5737; RFC
// 3849 and RFC 9637).
func documentation(f iptables.Family) []netip.Prefix {
	if f == iptables.IPv6 {
		return []netip.Prefix{netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("3fff::/20")}
	}
	return []netip.Prefix{
		netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"),
	}
}

// nobodys returns addresses that nobody has.
func nobodys(f iptables.Family) []netip.Addr {
	var all []netip.Addr
	for _, prefix := range documentation(f) {
		all = append(all, prefix.Addr().Next())
	}
	return all
}

// networks returns the networks that rules list to capture what applications send there.
func (p *planner) networks(protocol iptables.Protocol) []addresses {
	var all []addresses
	for _, i := range p.listed(iptables.Output, protocol, iptables.DestinationAddress) {
		first, last := i.Addresses()
		all = append(all, addresses{first, last})
	}
	return all
}

// addresses are the addresses from first to last.
type addresses struct{ first, last netip.Addr }

func (i addresses) contains(a netip.Addr) bool {
	return i.first.Compare(a) <= 0 && a.Compare(i.last) <= 0
}

// within returns addresses that may stand for all: the ends, and those after a part that
// is left alone.
func (p *planner) within(i addresses) []netip.Addr {
	candidates := []netip.Addr{i.first, i.first.Next(), i.last}
	for _, part := range p.named(iptables.DestinationAddress) {
		_, last := part.Addresses()
		candidates = append(candidates, last.Next())
	}
	var all []netip.Addr
	for _, a := range candidates {
		if i.contains(a) && !a.IsUnspecified() && !a.IsMulticast() {
			all = appendNew(all, a)
		}
	}
	return all
}

// applications returns identities that may be captured: a user that no rule names, in a
// group that no rule names, and in groups that rules name, as rules may capture only some
// groups.
func (p *planner) applications() []identity {
	all := []identity{{uid: p.ordinaryID, gid: p.ordinaryID}}
	for _, named := range p.named(iptables.OwnerGID) {
		gid, _ := named.IDs()
		if who := (identity{uid: p.ordinaryID, gid: gid}); !slices.Contains(all, who) {
			all = append(all, who)
		}
	}
	return all
}

func appendNew(all []netip.Addr, x netip.Addr) []netip.Addr {
	if len(all) == maxCandidates || slices.Contains(all, x) {
		return all
	}
	return append(all, x)
}

// isOwn reports whether an address is one of the namespace's own.
func (p *planner) isOwn(a netip.Addr) bool { return slices.Contains(p.addresses, a) }

// route is the interface and the source address for packets to somewhere.
type route struct {
	out    string
	source netip.Addr
}

// routeTo returns the route to an address. Packets from the machine to itself come from
// that address too.
func (p *planner) routeTo(a netip.Addr) route {
	if a.IsLoopback() || p.isOwn(a) {
		return route{loopback, a}
	}
	r, known := p.routes[a]
	if !known {
		r = p.lookUp(a)
		p.routes[a] = r
	}
	return r
}

// hasRoute reports whether packets to an address go anywhere.
func hasRoute(ctx context.Context, ns *namespace.Namespace, a netip.Addr) bool {
	_, err := rtnetlink.RouteTo(ctx, ns, a)
	return err == nil
}

// lookUpRoute asks the kernel. Without a route, packets go nowhere, and it returns a
// guess that rules for all packets do not contradict.
func lookUpRoute(ctx context.Context, ns *namespace.Namespace, a netip.Addr) route {
	r := route{"eth0", iptables.FamilyOf(a).Unspecified()}
	found, err := rtnetlink.RouteTo(ctx, ns, a)
	if err != nil {
		return r
	}
	if link, err := rtnetlink.LinkByIndex(ctx, ns, found.Link); err == nil {
		r.out = link.Name
	}
	if found.Source.IsValid() {
		r.source = found.Source
	}
	return r
}
