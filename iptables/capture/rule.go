package capture

import (
	"fmt"
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
)

// origin makes rules that come from one option.
type origin iptables.Origin

// from names the option, and the value of it, that rules come from.
func from(option string, value any) origin {
	return origin{Option: option, Value: fmt.Sprint(value)}
}

// fromList names the option whose list rules come from. The form that the rules get
// knows which items each is about.
func fromList(option string) origin { return origin{Option: option} }

// builtIn names a part of the policy that no option changes.
func builtIn(what string) origin { return from(iptables.BuiltIn, what) }

// condition is one thing that a rule asks of a packet.
type condition func(*iptables.Rule)

// rule returns a rule with the target for packets that meet all conditions.
// Extension matches keep the order of the conditions.
func (o origin) rule(target iptables.Target, conditions ...condition) iptables.PlannedRule {
	r := iptables.Rule{Target: target, Origin: iptables.Origin(o)}
	for _, c := range conditions {
		c(&r)
	}
	return iptables.PlannedRule{Rule: r}
}

// because gives a rule its reason, for those of which the option tells too little.
func because(reason string, r iptables.PlannedRule) iptables.PlannedRule {
	r.Reason = reason
	return r
}

// needed says for which values of its list a rule does something.
func needed(n iptables.Need, r iptables.PlannedRule) iptables.PlannedRule {
	r.Needed = n
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

// anyOf matches the values of a list.
func anyOf(f iptables.SetField, values []iptables.Interval) condition {
	return match(iptables.List{Field: f, Given: values})
}

// anyPort matches the destination ports of a list, and the protocol with them.
func anyPort(proto iptables.Protocol, ranges []iptables.PortRange) condition {
	return all(protocol(proto), anyOf(iptables.DestinationPort, intervals(ranges, iptables.PortInterval)))
}

// all is several conditions.
func all(conditions ...condition) condition {
	return func(r *iptables.Rule) {
		for _, c := range conditions {
			c(r)
		}
	}
}

// intervals returns the items of an option as what a list has of them.
func intervals[T any](items []T, of func(T) iptables.Interval) []iptables.Interval {
	values := make([]iptables.Interval, len(items))
	for i, item := range items {
		values[i] = of(item)
	}
	return values
}

func idInterval(id uint32) iptables.Interval { return iptables.IDInterval(id, id) }

// ports matches source and destination port, of which a zero value stands for
// any, and the protocol with them.
func ports(proto iptables.Protocol, src, dst iptables.PortMatch) condition {
	return all(protocol(proto), match(iptables.Ports{Protocol: proto, Source: src, Destination: dst}))
}

func toPort(proto iptables.Protocol, port uint16) condition {
	return ports(proto, iptables.PortMatch{}, iptables.PortMatch{Range: iptables.Port(port), Set: true})
}

func toPorts(proto iptables.Protocol, ranges iptables.PortRange) condition {
	return ports(proto, iptables.PortMatch{}, iptables.PortMatch{Range: ranges, Set: true})
}

func notToPort(proto iptables.Protocol, port uint16) condition {
	return ports(proto, iptables.PortMatch{}, iptables.PortMatch{Range: iptables.Port(port), Not: true, Set: true})
}

func notToPorts(proto iptables.Protocol, numbers ...uint16) condition {
	m := iptables.Multiport{Side: iptables.DestinationPorts, Not: true}
	for _, port := range numbers {
		m.Ports = append(m.Ports, iptables.Port(port))
	}
	return all(protocol(proto), match(m))
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

// optionProxyUID is the option of the proxy's users.
const optionProxyUID = "--proxy-uid"

// identity is what the proxy runs as: its users, or its groups.
type identity struct {
	option string
	field  iptables.SetField
	ids    []iptables.Interval
}

// proxyIdentities returns the proxy's users, then its groups.
func (p *planner) proxyIdentities() []identity {
	return []identity{
		{optionProxyUID, iptables.OwnerUID, intervals(p.cfg.ProxyUIDs, idInterval)},
		{"--proxy-gid", iptables.OwnerGID, intervals(p.cfg.ProxyGIDs, idInterval)},
	}
}

// rule returns a rule for what the proxy sends.
func (i identity) rule(target iptables.Target, conditions ...condition) iptables.PlannedRule {
	return fromList(i.option).rule(target, all(conditions...), anyOf(i.field, i.ids))
}

// ruleForOthers returns a rule for what others send. What the proxy sends meets the same
// target in a later rule.
func (i identity) ruleForOthers(target iptables.Target, conditions ...condition) iptables.PlannedRule {
	others := match(iptables.List{Field: i.field, Not: true, Given: i.ids, Implied: true})
	return fromList(i.option).rule(target, all(conditions...), others)
}
