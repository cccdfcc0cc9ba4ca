package capture

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/meshtables/meshtables/iptables"
)

// Origin makes the rules that come from one option.
type Origin iptables.Origin

// From names the option, and its value, that rules come from. The value is empty if it is
// enough that the option is set.
func From(option string, value any) Origin {
	return Origin{Option: option, Value: fmt.Sprint(value)}
}

// FromList names the option whose list rules come from. The form that writes the rules
// knows which items each rule is about.
func FromList(option string) Origin { return Origin{Option: option} }

// BuiltIn names a part of the policy that no option changes, as the origin of rules.
func BuiltIn(what string) Origin { return From(iptables.BuiltIn, what) }

// Rule returns a rule with a target for packets that meet all conditions. Extension
// matches keep the order of the conditions.
func (o Origin) Rule(target iptables.Target, conditions ...Condition) iptables.PlannedRule {
	r := iptables.Rule{Target: target, Origin: iptables.Origin(o)}
	All(conditions...)(&r)
	return iptables.PlannedRule{Rule: r}
}

// Because gives a rule a reason, if its option does not say enough.
func Because(reason string, r iptables.PlannedRule) iptables.PlannedRule {
	r.Reason = reason
	return r
}

// Needed says for which values of its list a rule is needed.
func Needed(n iptables.Need, r iptables.PlannedRule) iptables.PlannedRule {
	r.Needed = n
	return r
}

// Listed leaves out rules about an empty list: no packet matches them.
func Listed(rules ...iptables.PlannedRule) []iptables.PlannedRule {
	return slices.DeleteFunc(rules, func(r iptables.PlannedRule) bool {
		return slices.ContainsFunc(r.Lists(), func(l iptables.List) bool { return len(l.Given) == 0 })
	})
}

// PerFamily returns a rule for each family. It leaves out rules about an empty list.
func PerFamily(families []iptables.Family, rule func(iptables.Family) iptables.PlannedRule) []iptables.PlannedRule {
	var rules []iptables.PlannedRule
	for _, f := range families {
		r := rule(f)
		r.Family = f
		rules = append(rules, r)
	}
	return Listed(rules...)
}

// Condition is one condition of a rule.
type Condition func(*iptables.Rule)

// All joins conditions: the packet must meet all of them.
func All(conditions ...Condition) Condition {
	return func(r *iptables.Rule) {
		for _, c := range conditions {
			c(r)
		}
	}
}

// In matches the interface by which the packet comes in.
func In(name string) Condition {
	return func(r *iptables.Rule) { r.In.Name = name }
}

// Out matches the interface by which the packet goes out.
func Out(name string) Condition {
	return func(r *iptables.Rule) { r.Out.Name = name }
}

// NotOut matches any other interface by which the packet goes out.
func NotOut(name string) Condition {
	return func(r *iptables.Rule) { r.Out = iptables.Interface{Name: name, Not: true} }
}

// LoopbackInterface is the name Linux gives it in every namespace.
const LoopbackInterface = "lo"

// FromAddress matches a source address in the prefix.
func FromAddress(p netip.Prefix) Condition {
	return func(r *iptables.Rule) { r.Source = iptables.MatchAddress(p) }
}

// ToAddress matches a destination address in the prefix.
func ToAddress(p netip.Prefix) Condition {
	return func(r *iptables.Rule) { r.Destination = iptables.MatchAddress(p) }
}

// NotToAddress matches a destination address outside the prefix.
func NotToAddress(p netip.Prefix) Condition {
	return func(r *iptables.Rule) { r.Destination = iptables.NotAddress(p) }
}

// Protocol matches a transport protocol; an empty one matches any.
func Protocol(proto iptables.Protocol) Condition {
	return func(r *iptables.Rule) { r.Protocol.Protocol = proto }
}

// Match is an extension match.
func Match(m iptables.Match) Condition {
	return func(r *iptables.Rule) { r.Matches = append(r.Matches, m) }
}

// AnyOf matches any value of a list.
func AnyOf(f iptables.SetField, values []iptables.Interval) Condition {
	return Match(iptables.List{Field: f, Given: values})
}

// ToAnyPort matches the protocol and any destination port of a list.
func ToAnyPort(proto iptables.Protocol, ranges []iptables.PortRange) Condition {
	return All(Protocol(proto), AnyOf(iptables.DestinationPort, Intervals(ranges, iptables.PortInterval)))
}

// ToPorts matches the protocol and a destination port in a range.
func ToPorts(proto iptables.Protocol, ports iptables.PortRange) Condition {
	return destinationPorts(proto, iptables.PortMatch{Range: ports, Set: true})
}

// ToPort matches the protocol and a destination port.
func ToPort(proto iptables.Protocol, port uint16) Condition {
	return ToPorts(proto, iptables.Port(port))
}

// NotToPort matches the protocol and any other destination port.
func NotToPort(proto iptables.Protocol, port uint16) Condition {
	return destinationPorts(proto, iptables.PortMatch{Range: iptables.Port(port), Not: true, Set: true})
}

func destinationPorts(proto iptables.Protocol, ports iptables.PortMatch) Condition {
	return All(Protocol(proto), Match(iptables.Ports{Protocol: proto, Destination: ports}))
}

// NotToPorts matches the protocol and any other destination port than these, of which
// there are at most [iptables.MaxMultiport].
func NotToPorts(proto iptables.Protocol, ports ...uint16) Condition {
	m := iptables.Multiport{Side: iptables.DestinationPorts, Not: true}
	for _, port := range ports {
		m.Ports = append(m.Ports, iptables.Port(port))
	}
	return All(Protocol(proto), Match(m))
}

// FromPort matches the protocol and a source port.
func FromPort(proto iptables.Protocol, port uint16) Condition {
	ports := iptables.PortMatch{Range: iptables.Port(port), Set: true}
	return All(Protocol(proto), Match(iptables.Ports{Protocol: proto, Source: ports}))
}

// State matches any of these states of the connection.
func State(states iptables.CTState) Condition {
	return Match(iptables.Conntrack{States: states})
}

// Mark matches the whole mark of the packet.
func Mark(value uint32) Condition {
	return Match(iptables.Mark{Value: value, Mask: iptables.FullMask})
}

// NotMark matches any other mark of the packet.
func NotMark(value uint32) Condition {
	return Match(iptables.Mark{Value: value, Mask: iptables.FullMask, Not: true})
}

// Intervals returns the items of an option as values of a list.
func Intervals[T any](items []T, of func(T) iptables.Interval) []iptables.Interval {
	values := make([]iptables.Interval, len(items))
	for i, item := range items {
		values[i] = of(item)
	}
	return values
}

// Prefixes returns the prefixes of one family, as values of a list of addresses.
func Prefixes(f iptables.Family, list []netip.Prefix) []iptables.Interval {
	values := make([]iptables.Interval, 0, len(list))
	for _, p := range list {
		if iptables.FamilyOf(p.Addr()) == f {
			values = append(values, iptables.PrefixInterval(p))
		}
	}
	return values
}

// ID returns a user or group as a value of a list.
func ID(id uint32) iptables.Interval { return iptables.IDInterval(id, id) }
