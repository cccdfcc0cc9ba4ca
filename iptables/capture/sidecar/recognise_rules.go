package sidecar

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/form"
)

// family reads the rules of one family, by the names and shapes that the planner gives
// them. In built-in chains, rules that are not jumps are foreign.
func (r *recogniser) family(rs *iptables.Ruleset, f iptables.Family) {
	rules := func(table, chain string) []iptables.Rule {
		if t := rs.Table(f, table); t != nil {
			if c := t.Chain(chain); c != nil {
				return form.Ungroup(c.Rules)
			}
		}
		return nil
	}
	if len(rules(iptables.Nat, chainOutput)) == 0 {
		return
	}
	r.families = append(r.families, f)
	r.redirects(rules(iptables.Nat, chainRedirect), &r.outboundPort)
	r.redirects(rules(iptables.Nat, chainInRedirect), &r.inboundPort)
	r.outbound(f, rules(iptables.Nat, chainOutput))
	r.dnsRules(rules(iptables.Raw, chainOutputDNS), rules(iptables.Nat, chainOutputDNS))
	r.mangle(slices.Concat(rules(iptables.Mangle, iptables.Prerouting), rules(iptables.Mangle, chainPrerouting),
		rules(iptables.Mangle, chainTProxy)))
	if inbound := rules(iptables.Nat, chainInbound); len(inbound) > 0 {
		// The first exempts the tunnel's port, which is known from outbound.
		r.inbound(f, inbound[1:])
	}
	r.inbound(f, rules(iptables.Mangle, chainInbound))
	r.interfaces(rules(iptables.Nat, chainPrerouting))
}

func (r *recogniser) redirects(rules []iptables.Rule, port *uint16) {
	for _, rule := range rules {
		if t, ok := rule.Target.(iptables.Redirect); ok {
			*port = t.Ports.First
		}
	}
}

// outbound reads ISTIO_OUTPUT of nat. Each of the proxy's users and groups has a rule that
// lets its connections come in again; excluded ones have none.
func (r *recogniser) outbound(f iptables.Family, rules []iptables.Rule) {
	proxy := make(map[iptables.Owner]int)
	loopback := false
	for _, rule := range rules {
		to, _ := rule.JumpsTo()
		owners := iptables.MatchesOf[iptables.Owner](rule)
		port, toPort := destinationPort(rule)
		switch {
		case to == chainInRedirect:
			for _, o := range owners {
				proxy[o]++
			}
			r.tunnelPort = exceptedPort(rule)
		case to == chainRedirect && toPort:
			r.includedOutbound = append(r.includedOutbound, port)
		case to == chainRedirect:
			r.includedCIDRs = append(r.includedCIDRs, capture.ListedPrefix(rule.Destination, f))
		case rule.Target != iptables.Return || rule.Source != (iptables.Address{}):
		case len(owners) > 0 && rule.Out == (iptables.Interface{}):
			for _, o := range owners {
				r.owner(o, rule, proxy[o] > 0)
				proxy[o]--
			}
		case len(owners) > 0:
		case rule.Out != (iptables.Interface{}):
			r.excludedInterfaces = append(r.excludedInterfaces, rule.Out.Name)
		case toPort && rule.Protocol.Protocol == iptables.UDP:
			// Its twin for TCP says the same.
		case toPort:
			r.excludedOutbound = append(r.excludedOutbound, port)
		case rule.Destination != (iptables.Address{}) && !loopback:
			loopback = true
			if f == iptables.IPv4 {
				r.loopback = rule.Destination.Prefix
			}
		case rule.Destination != (iptables.Address{}), loopback && rule.Equal(iptables.Rule{Target: iptables.Return}):
			r.excludedCIDRs = append(r.excludedCIDRs, capture.ListedPrefix(rule.Destination, f))
		}
	}
}

// owner reads a rule that exempts a user's or a group's traffic. The proxy's rule comes
// before one that excludes the same user or group.
func (r *recogniser) owner(o iptables.Owner, rule iptables.Rule, proxy bool) {
	uid, gid := o.UID.First, o.GID.First
	switch {
	case o.UID.Set && proxy:
		r.proxyUIDs = append(r.proxyUIDs, uid)
	case o.UID.Set:
		r.excludedUser(o, rule)
	case o.GID.Not:
		r.includedGroups = append(r.includedGroups, gid)
	case proxy:
		r.proxyGIDs = append(r.proxyGIDs, gid)
	default:
		r.excludedGroups = append(r.excludedGroups, gid)
	}
}

// excludedUser reads a rule of --excluded-uids. Ports without a protocol have two rules.
func (r *recogniser) excludedUser(o iptables.Owner, rule iptables.Rule) {
	port, _ := destinationPort(rule)
	t := UserTraffic{Protocol: rule.Protocol.Protocol, Ports: port, First: o.UID.First, Last: o.UID.Last}
	if n := len(r.excludedUIDs); n > 0 && t.Protocol == iptables.UDP {
		last, other := &r.excludedUIDs[n-1], t
		other.Protocol = iptables.TCP
		if t.Ports != (iptables.PortRange{}) && *last == other {
			last.Protocol = ""
			return
		}
	}
	r.excludedUIDs = append(r.excludedUIDs, t)
}

// inbound reads ISTIO_INBOUND of nat, after the tunnel's rule, or of mangle: clients and
// ports that are exempt, and ports that are captured, or all.
func (r *recogniser) inbound(f iptables.Family, rules []iptables.Rule) {
	anyClient := iptables.Rule{Protocol: iptables.ProtocolMatch{Protocol: iptables.TCP}, Target: iptables.Return}
	for _, rule := range rules {
		to, _ := rule.JumpsTo()
		port, toPort := destinationPort(rule)
		takes := to == chainInRedirect || to == chainTProxy
		switch {
		case takes && toPort:
			r.includedPorts.Ports = append(r.includedPorts.Ports, port)
		case takes:
			r.includedPorts.All = true
		case rule.Target != iptables.Return:
		case toPort:
			r.excludedPorts = append(r.excludedPorts, port)
		case rule.Source != (iptables.Address{}) && rule.In == (iptables.Interface{}), rule.Equal(anyClient):
			r.excludedSources = append(r.excludedSources, capture.ListedPrefix(rule.Source, f))
		}
	}
}

func (r *recogniser) mangle(rules []iptables.Rule) {
	for _, rule := range rules {
		if to, _ := rule.JumpsTo(); to == chainDrop {
			r.dropInvalid = true
		}
		switch t := rule.Target.(type) {
		case iptables.TProxy:
			r.tproxyMark = t.Mark
		case iptables.SaveMark:
			for _, m := range rule.Matches {
				if m, ok := m.(iptables.Mark); ok {
					r.tproxyMark = m.Value
				}
			}
		}
	}
}

// dnsRules reads ISTIO_OUTPUT_DNS of raw, which exists whenever DNS is captured, and that
// of nat.
func (r *recogniser) dnsRules(raw, nat []iptables.Rule) {
	r.dns = r.dns || len(raw) > 0
	for _, rule := range raw {
		for _, m := range rule.Matches {
			if m, ok := m.(iptables.Ports); ok && m.Source.Set {
				r.dnsPort = m.Source.Range.First
			}
		}
	}
	for _, rule := range nat {
		if rule.Destination == (iptables.Address{}) {
			r.allDNS = true
			continue
		}
		add(&r.servers, rule.Destination.Prefix.Addr())
	}
}

// interfaces reads ISTIO_PREROUTING of nat, once the excluded interfaces are known: before
// the jump to ISTIO_INBOUND, they follow those of virtual machines, which may be the same.
func (r *recogniser) interfaces(rules []iptables.Rule) {
	for _, rule := range rules {
		if rule.Target == iptables.Return {
			r.virtual = append(r.virtual, rule.In.Name)
		}
		switch to, _ := rule.JumpsTo(); to {
		case chainOutputDNS:
			r.virtualDNS = true
		case chainInbound:
			r.virtual = r.virtual[:max(0, len(r.virtual)-len(r.excludedInterfaces))]
		}
	}
}

func destinationPort(r iptables.Rule) (iptables.PortRange, bool) {
	for _, m := range r.Matches {
		if m, ok := m.(iptables.Ports); ok && m.Destination.Set && !m.Destination.Not {
			return m.Destination.Range, true
		}
	}
	return iptables.PortRange{}, false
}

// exceptedPort returns the port that a rule about the proxy's way back in leaves out: the
// tunnel's. It may leave out the DNS port too.
func exceptedPort(r iptables.Rule) uint16 {
	values, _, _ := r.Values(iptables.DestinationPort)
	for _, v := range values {
		for _, port := range []uint16{v.Ports().First, v.Ports().Last} {
			if port != dnsPort {
				return port
			}
		}
	}
	return dnsPort
}

func add[T comparable](list *[]T, items ...T) {
	for _, x := range items {
		if !slices.Contains(*list, x) {
			*list = append(*list, x)
		}
	}
}
