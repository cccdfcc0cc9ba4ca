package linkerd

import (
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/form"
)

// Recognise reads the options back from rules, whether this program or the reference
// wrote them: from the origins stored with the rules, or else from what the rules look
// like. Options that make no rule have their default, such as the timeout of conntrack.
// Wanted of the result is a [Config].
//
// inForm returns a plan as it reads back from the kernel, in the form of the rules.
func Recognise(rs iptables.Ruleset, inForm func(iptables.Plan) iptables.Ruleset) capture.Recognised {
	return capture.Recognise(Ownership(), rs, inForm, shapeOf, listedField, withOrigins)
}

// shapeOf returns the options that rules look like. Both families say the same, except about
// addresses.
func shapeOf(rs *iptables.Ruleset) Config {
	var families []iptables.Family
	c := Default()
	for _, f := range iptables.Families() {
		inbound, outbound := rulesOf(rs, f, chainInbound), rulesOf(rs, f, chainOutbound)
		if len(inbound)+len(outbound) == 0 {
			continue
		}
		families = append(families, f)
		one := withoutLists(c)
		for _, r := range withoutGroups(inbound) {
			one.readInbound(&r, f)
		}
		for i := range outbound {
			one.readOutbound(&outbound[i], f)
		}
		if len(families) > 1 {
			one.ExcludedSourceCIDRs = slices.Concat(c.ExcludedSourceCIDRs, one.ExcludedSourceCIDRs)
			one.ExcludedCIDRs = slices.Concat(c.ExcludedCIDRs, one.ExcludedCIDRs)
		}
		c = one
	}
	switch {
	case len(families) == 0:
		return c
	case len(c.ProxyUIDs) == 0:
		// Somebody removed it.
		c.ProxyUIDs = Default().ProxyUIDs
	}
	c.IPv6 = capture.IPv6Off
	if slices.Contains(families, iptables.IPv6) {
		c.IPv6 = capture.IPv6On
	}
	return c
}

// withoutGroups takes the rules apart that capture listed ports: these are in groups only if
// there are many. Excluded ones always are.
func withoutGroups(rules []iptables.Rule) []iptables.Rule {
	at := slices.IndexFunc(rules, func(r iptables.Rule) bool {
		_, ok := r.Target.(iptables.Redirect)
		return ok
	})
	if at < 0 {
		return rules
	}
	return slices.Concat(rules[:at], form.Ungroup(rules[at:]))
}

func rulesOf(rs *iptables.Ruleset, f iptables.Family, chain string) []iptables.Rule {
	if t := rs.Table(f, iptables.Nat); t != nil {
		if c := t.Chain(chain); c != nil {
			return c.Rules
		}
	}
	return nil
}

// withoutLists returns the options without what rules say of them.
func withoutLists(c Config) Config {
	c.ProxyUIDs, c.ProxyGIDs = nil, nil
	c.IncludedPorts, c.ExcludedPorts, c.ExcludedOutboundPorts = config.PortSelection{}, nil, nil
	c.ExcludedSourceCIDRs, c.ExcludedCIDRs = nil, nil
	return c
}

func (c *Config) readInbound(r *iptables.Rule, f iptables.Family) {
	ports, listed := portsOf(r)
	switch to := r.Target.(type) {
	case iptables.Redirect:
		c.InboundPort = to.Ports.First
		c.IncludedPorts.All = c.IncludedPorts.All || !listed
		c.IncludedPorts.Ports = append(c.IncludedPorts.Ports, ports...)
	case iptables.Verdict:
		switch {
		case to != iptables.Return:
		case listed:
			c.ExcludedPorts = append(c.ExcludedPorts, ports...)
		case r.Protocol == (iptables.ProtocolMatch{}):
			c.ExcludedSourceCIDRs = append(c.ExcludedSourceCIDRs, capture.ListedPrefix(r.Source, f))
		}
	}
}

func (c *Config) readOutbound(r *iptables.Rule, f iptables.Family) {
	ports, listed := portsOf(r)
	switch to := r.Target.(type) {
	case iptables.Redirect:
		c.OutboundPort = to.Ports.First
	case iptables.Verdict:
		if to != iptables.Return {
			return
		}
		switch {
		case listed:
			c.ExcludedOutboundPorts = append(c.ExcludedOutboundPorts, ports...)
		case isOfDestination(r):
			c.ExcludedCIDRs = append(c.ExcludedCIDRs, capture.ListedPrefix(r.Destination, f))
		}
		for _, v := range r.Named(iptables.OwnerUID) {
			uid, _ := v.IDs()
			c.ProxyUIDs = append(c.ProxyUIDs, uid)
		}
		for _, v := range r.Named(iptables.OwnerGID) {
			gid, _ := v.IDs()
			c.ProxyGIDs = append(c.ProxyGIDs, gid)
		}
	}
}

// isOfDestination reports whether a rule of the outbound chain leaves a destination alone, which
// may be every one.
func isOfDestination(r *iptables.Rule) bool {
	return r.Protocol == (iptables.ProtocolMatch{}) && r.Out == (iptables.Interface{}) &&
		len(r.Named(iptables.OwnerUID)) == 0 && len(r.Named(iptables.OwnerGID)) == 0
}

// portsOf returns the destination ports that a rule asks for, in its order.
func portsOf(r *iptables.Rule) (ports []iptables.PortRange, ok bool) {
	for _, m := range iptables.MatchesOf[iptables.Multiport](*r) {
		// Values would sort them.
		if m.Side == iptables.DestinationPorts && !m.Not {
			return m.Ports, true
		}
	}
	values, not, ok := r.Values(iptables.DestinationPort)
	if !ok || not {
		return nil, false
	}
	for _, v := range values {
		ports = append(ports, v.Ports())
	}
	return ports, true
}

// listedField returns what the option behind a rule is a list of.
func listedField(r *iptables.Rule) iptables.SetField {
	switch r.Origin.Option {
	case optionExcludedFrom:
		return iptables.SourceAddress
	case optionExcludedTo:
		return iptables.DestinationAddress
	case optionProxyUID:
		return iptables.OwnerUID
	case optionProxyGID:
		return iptables.OwnerGID
	}
	return iptables.DestinationPort
}

// withOrigins returns the options that rules were stored with. An option without rules is as
// in c, which the rules look like, or empty if it is a list. So is an option whose value is
// not valid; refused has these options, sorted.
func withOrigins(c Config, told capture.Origins) (_ Config, refused []string) {
	uids := c.ProxyUIDs
	if c = withoutLists(c); told[optionProxyUID] == nil {
		c.ProxyUIDs = uids
	}
	for option, values := range told {
		if option != iptables.BuiltIn && c.Set(strings.TrimPrefix(option, "--"), strings.Join(values, ",")) != nil {
			refused = append(refused, option)
		}
	}
	slices.Sort(refused)
	return c, refused
}
