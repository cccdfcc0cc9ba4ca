package capture

import (
	"fmt"
	"net/netip"
	"strconv"

	"github.com/meshtables/meshtables/iptables"
)

// origin makes rules that come from one option.
type origin iptables.Origin

// from names the option, and the value of it, that rules come from.
func from(option string, value any) origin {
	return origin{Option: option, Value: fmt.Sprint(value)}
}

// builtIn names a part of the policy that no option changes.
func builtIn(what string) origin { return from(iptables.BuiltIn, what) }

// condition is one thing that a rule asks of a packet.
type condition func(*iptables.Rule)

// rule returns a rule with the target for packets that meet all conditions.
// Extension matches keep the order of the conditions.
func (o origin) rule(target iptables.Target, conditions ...condition) iptables.Rule {
	r := iptables.Rule{Target: target, Origin: iptables.Origin(o)}
	for _, c := range conditions {
		c(&r)
	}
	return r
}

// because gives a rule its reason, for those of which the option tells too little.
func because(reason string, r iptables.Rule) iptables.Rule {
	r.Reason = reason
	return r
}

func in(name string) condition {
	return func(r *iptables.Rule) { r.In.Name = name }
}

func out(name string) condition {
	return func(r *iptables.Rule) { r.Out.Name = name }
}

func source(p netip.Prefix) condition {
	return func(r *iptables.Rule) { r.Source = iptables.MatchAddress(p) }
}

func destination(p netip.Prefix) condition {
	return func(r *iptables.Rule) { r.Destination = iptables.MatchAddress(p) }
}

func notDestination(p netip.Prefix) condition {
	return func(r *iptables.Rule) { r.Destination = iptables.NotAddress(p) }
}

func protocol(proto iptables.Protocol) condition {
	return func(r *iptables.Rule) { r.Protocol.Protocol = proto }
}

func match(m iptables.Match) condition {
	return func(r *iptables.Rule) { r.Matches = append(r.Matches, m) }
}

// ports matches source and destination port, of which a zero value stands for
// any, and the protocol with them.
func ports(proto iptables.Protocol, src, dst iptables.PortMatch) condition {
	return func(r *iptables.Rule) {
		protocol(proto)(r)
		match(iptables.Ports{Protocol: proto, Source: src, Destination: dst})(r)
	}
}

func toPorts(proto iptables.Protocol, ranges iptables.PortRange) condition {
	return ports(proto, iptables.PortMatch{}, iptables.PortMatch{Range: ranges, Set: true})
}

func toPort(proto iptables.Protocol, port uint16) condition {
	return toPorts(proto, iptables.Port(port))
}

func notToPort(proto iptables.Protocol, port uint16) condition {
	return ports(proto, iptables.PortMatch{}, iptables.PortMatch{Range: iptables.Port(port), Not: true, Set: true})
}

func fromPort(proto iptables.Protocol, port uint16) condition {
	return ports(proto, iptables.PortMatch{Range: iptables.Port(port), Set: true}, iptables.PortMatch{})
}

func conntrack(states iptables.CTState) condition {
	return match(iptables.Conntrack{States: states})
}

func mark(value uint32) condition {
	return match(iptables.Mark{Value: value, Mask: iptables.FullMask})
}

func notMark(value uint32) condition {
	return match(iptables.Mark{Value: value, Mask: iptables.FullMask, Not: true})
}

// identity is one user or group of the proxy.
type identity struct {
	origin    origin
	is, isNot condition
	user      bool
}

func user(uid uint32) identity {
	return identity{
		origin: from("--proxy-uid", strconv.FormatUint(uint64(uid), 10)),
		is:     match(iptables.Owner{UID: iptables.ID(uid)}),
		isNot:  match(iptables.Owner{UID: iptables.NotID(uid)}),
		user:   true,
	}
}

func group(gid uint32) identity {
	return identity{
		origin: from("--proxy-gid", strconv.FormatUint(uint64(gid), 10)),
		is:     match(iptables.Owner{GID: iptables.ID(gid)}),
		isNot:  match(iptables.Owner{GID: iptables.NotID(gid)}),
	}
}

// proxyIdentities returns the proxy's users, then its groups.
func (p *planner) proxyIdentities() []identity {
	var ids []identity
	for _, uid := range p.cfg.ProxyUIDs {
		ids = append(ids, user(uid))
	}
	for _, gid := range p.cfg.ProxyGIDs {
		ids = append(ids, group(gid))
	}
	return ids
}
