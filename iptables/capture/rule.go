package capture

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/meshtables/meshtables/iptables"
)

// Origin makes rules that come from one option.
type Origin iptables.Origin

// From names an option, and the value of it, that rules come from. The value is empty
// where the mere presence of the option makes the rules.
func From(option string, value any) Origin {
	return Origin{Option: option, Value: fmt.Sprint(value)}
}

// FromList names the option whose list rules come from. The form in which they are
// written knows which items each rule is about.
func FromList(option string) Origin { return Origin{Option: option} }

// BuiltIn names a part of the policy that no option changes.
func BuiltIn(what string) Origin { return From(iptables.BuiltIn, what) }

// Rule returns a rule with the target for packets that meet all conditions. Extension
// matches keep the order of the conditions.
func (o Origin) Rule(target iptables.Target, conditions ...Condition) iptables.PlannedRule {
	r := iptables.Rule{Target: target, Origin: iptables.Origin(o)}
	All(conditions...)(&r)
	return iptables.PlannedRule{Rule: r}
}

// Because gives a rule its reason, where the option alone does not say enough.
func Because(reason string, r iptables.PlannedRule) iptables.PlannedRule {
	r.Reason = reason
	return r
}

// Needed says for which values of its list a rule does something.
func Needed(n iptables.Need, r iptables.PlannedRule) iptables.PlannedRule {
	r.Needed = n
	return r
}

// Listed leaves out the rules that are about an empty list, which are for no packet.
func Listed(rules ...iptables.PlannedRule) []iptables.PlannedRule {
	return slices.DeleteFunc(rules, func(r iptables.PlannedRule) bool {
		return slices.ContainsFunc(r.Lists(), func(l iptables.List) bool { return len(l.Given) == 0 })
	})
}

// PerFamily returns a rule for each family, and leaves out those that are about an empty
// list.
func PerFamily(families []iptables.Family, rule func(iptables.Family) iptables.PlannedRule) []iptables.PlannedRule {
	var rules []iptables.PlannedRule
	for _, f := range families {
		r := rule(f)
		r.Family = f
		rules = append(rules, r)
	}
	return Listed(rules...)
}

// Condition is one thing that a rule asks of a packet.
type Condition func(*iptables.Rule)

// All is several conditions.
func All(conditions ...Condition) Condition {
	return func(r *iptables.Rule) {
		for _, c := range conditions {
			c(r)
		}
	}
}

// In asks for the interface that the packet comes in by.
func In(name string) Condition {
	return func(r *iptables.Rule) { r.In.Name = name }
}

// Out asks for the interface that the packet goes out by.
func Out(name string) Condition {
	return func(r *iptables.Rule) { r.Out.Name = name }
}

// FromAddress asks for a source address in the prefix.
func FromAddress(p netip.Prefix) Condition {
	return func(r *iptables.Rule) { r.Source = iptables.MatchAddress(p) }
}

// ToAddress asks for a destination address in the prefix.
func ToAddress(p netip.Prefix) Condition {
	return func(r *iptables.Rule) { r.Destination = iptables.MatchAddress(p) }
}

// NotToAddress asks for a destination address outside the prefix.
func NotToAddress(p netip.Prefix) Condition {
	return func(r *iptables.Rule) { r.Destination = iptables.NotAddress(p) }
}

// Protocol asks for a transport protocol; an empty one asks for nothing.
func Protocol(proto iptables.Protocol) Condition {
	return func(r *iptables.Rule) { r.Protocol.Protocol = proto }
}

// Match asks what an extension match asks.
func Match(m iptables.Match) Condition {
	return func(r *iptables.Rule) { r.Matches = append(r.Matches, m) }
}

// AnyOf asks for a value of a list.
func AnyOf(f iptables.SetField, values []iptables.Interval) Condition {
	return Match(iptables.List{Field: f, Given: values})
}

// ToAnyPort asks for a destination port of a list, and for the protocol.
func ToAnyPort(proto iptables.Protocol, ranges []iptables.PortRange) Condition {
	return All(Protocol(proto), AnyOf(iptables.DestinationPort, Intervals(ranges, iptables.PortInterval)))
}

// ToPorts asks for a destination port of one range, and for the protocol.
func ToPorts(proto iptables.Protocol, ports iptables.PortRange) Condition {
	return destinationPorts(proto, iptables.PortMatch{Range: ports, Set: true})
}

// ToPort asks for a destination port, and for the protocol.
func ToPort(proto iptables.Protocol, port uint16) Condition {
	return ToPorts(proto, iptables.Port(port))
}

// NotToPort asks for another destination port, and for the protocol.
func NotToPort(proto iptables.Protocol, port uint16) Condition {
	return destinationPorts(proto, iptables.PortMatch{Range: iptables.Port(port), Not: true, Set: true})
}

func destinationPorts(proto iptables.Protocol, ports iptables.PortMatch) Condition {
	return All(Protocol(proto), Match(iptables.Ports{Protocol: proto, Destination: ports}))
}

// NotToPorts asks for none of up to [iptables.MaxMultiport] destination ports, and for
// the protocol.
func NotToPorts(proto iptables.Protocol, ports ...uint16) Condition {
	m := iptables.Multiport{Side: iptables.DestinationPorts, Not: true}
	for _, port := range ports {
		m.Ports = append(m.Ports, iptables.Port(port))
	}
	return All(Protocol(proto), Match(m))
}

// FromPort asks for a source port, and for the protocol.
func FromPort(proto iptables.Protocol, port uint16) Condition {
	ports := iptables.PortMatch{Range: iptables.Port(port), Set: true}
	return All(Protocol(proto), Match(iptables.Ports{Protocol: proto, Source: ports}))
}

// State asks for one of some states of the connection.
func State(states iptables.CTState) Condition {
	return Match(iptables.Conntrack{States: states})
}

// Mark asks for the mark of the packet, all of it.
func Mark(value uint32) Condition {
	return Match(iptables.Mark{Value: value, Mask: iptables.FullMask})
}

// NotMark asks for another mark of the packet.
func NotMark(value uint32) Condition {
	return Match(iptables.Mark{Value: value, Mask: iptables.FullMask, Not: true})
}

// Intervals returns the items of an option as what a list has of them.
func Intervals[T any](items []T, of func(T) iptables.Interval) []iptables.Interval {
	values := make([]iptables.Interval, len(items))
	for i, item := range items {
		values[i] = of(item)
	}
	return values
}

// Prefixes returns those of a list that are of a family, as what a list of addresses has
// of them.
func Prefixes(f iptables.Family, list []netip.Prefix) []iptables.Interval {
	var values []iptables.Interval
	for _, p := range list {
		if iptables.FamilyOf(p.Addr()) == f {
			values = append(values, iptables.PrefixInterval(p))
		}
	}
	return values
}

// ID returns one user or group as what a list has of it.
func ID(id uint32) iptables.Interval { return iptables.IDInterval(id, id) }
