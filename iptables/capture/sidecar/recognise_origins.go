package sidecar

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/config"
)

// origins holds the values of options, in order, as rules were stored with them.
type origins map[string][]string

// originsOf collects them. ok is true if any rule has one; then the rules without one were
// added by somebody else. If several tables have rules of a list, nat has them all, so its
// order is the order of the list.
func originsOf(rs iptables.Ruleset) (o origins, ok bool) {
	o = make(origins)
	known := make(map[iptables.Origin]bool)
	own := Ownership().Of(rs)
	slices.SortStableFunc(own.Tables, natFirst)
	for i, t := range own.Tables {
		for _, c := range t.Chains {
			for _, r := range c.Rules {
				switch {
				case r.Origin == (iptables.Origin{}):
				case r.Origin.Option != optionExcludedUIDs:
					o.add(&r, t.Family, known)
				case i == 0 && !isTwin(&r):
					o[optionExcludedUIDs] = append(o[optionExcludedUIDs], valuesOf(&r)...)
				}
			}
		}
	}
	return o, len(o) > 0
}

func natFirst(a, b iptables.Table) int {
	switch {
	case a.Name == b.Name:
		return 0
	case a.Name == iptables.Nat:
		return -1
	case b.Name == iptables.Nat:
		return 1
	}
	return 0
}

// add adds the values of a rule's option, except those known from other rules.
func (o origins) add(r *iptables.Rule, f iptables.Family, known map[iptables.Origin]bool) {
	option := r.Origin.Option
	values := slices.DeleteFunc(slices.Concat(valuesOf(r), unlistedPrefix(r, f)), func(v string) bool {
		return known[iptables.Origin{Option: option, Value: v}]
	})
	for _, v := range values {
		known[iptables.Origin{Option: option, Value: v}] = true
	}
	o[option] = append(o[option], values...)
}

// valuesOf returns the items of an option's value. If the list was too long to be stored,
// they come from the rule's conditions: from one, or for included groups from one each.
// There, neighbours are one interval.
func valuesOf(r *iptables.Rule) []string {
	if r.Origin.Value != "" && !r.Origin.IsShortened() {
		return strings.Split(r.Origin.Value, ",")
	}
	if r.Origin.Option == optionExcludedUIDs {
		return texts(excludedUsersOf(r), UserTraffic.String)
	}
	var values []string
	for _, i := range r.Named(listedField(r)) {
		values = append(values, itemsOf(r, i)...)
	}
	return values
}

// unlistedPrefix returns every address of a family, if the rule matches that and its
// origin does not list it: such a rule has no address. The list was too long to be
// stored, or the rule is for both families and was stored with the list of the other.
func unlistedPrefix(r *iptables.Rule, f iptables.Family) []string {
	field := listedField(r)
	if r.Address(field) == nil || r.Origin.Value == "*" || len(r.Named(field)) > 0 {
		return nil
	}
	isListed := func(text string) bool {
		p, err := netip.ParsePrefix(text)
		return err == nil && iptables.FamilyOf(p.Addr()) == f
	}
	if slices.ContainsFunc(valuesOf(r), isListed) {
		return nil
	}
	return []string{everyAddress(f).String()}
}

// listedField returns what the option behind a rule is a list of.
func listedField(r *iptables.Rule) iptables.SetField {
	switch r.Origin.Option {
	case "--included-cidrs", "--excluded-cidrs":
		return iptables.DestinationAddress
	case "--excluded-source-cidrs":
		return iptables.SourceAddress
	case "--excluded-interfaces", "--virtual-interfaces":
		if _, _, ok := r.Values(iptables.OutInterface); ok {
			return iptables.OutInterface
		}
		return iptables.InInterface
	case "--proxy-uid":
		return iptables.OwnerUID
	case "--proxy-gid", "--included-groups", "--excluded-groups":
		return iptables.OwnerGID
	}
	return iptables.DestinationPort
}

// config returns the options. An option without rules is as in c, which the rules look
// like, or empty if it is a list. So is an option whose value is not valid; refused has
// these options, sorted.
func (o origins) config(c Config) (_ Config, refused []string) {
	c.IncludedPorts, c.ExcludedPorts = config.PortSelection{}, nil
	c.IncludedOutboundPorts, c.ExcludedOutboundPorts = nil, nil
	c.IncludedCIDRs, c.ExcludedCIDRs, c.ExcludedSourceCIDRs = config.CIDRSelection{}, nil, nil
	c.ExcludedUIDs, c.ExcludedGroups = nil, nil
	c.IncludedGroups = config.GroupSelection{All: true}
	c.ExcludedInterfaces, c.VirtualInterfaces = nil, nil
	c.RedirectDNS, c.CaptureAllDNS, c.DropInvalid = false, false, false
	for option, values := range o {
		switch option {
		case iptables.BuiltIn:
		case "--redirect-dns":
			c.RedirectDNS = true
		case "--capture-all-dns", "--drop-invalid":
			values = []string{"true"}
			fallthrough
		default:
			if c.Set(strings.TrimPrefix(option, "--"), strings.Join(values, ",")) != nil {
				refused = append(refused, option)
			}
		}
	}
	if _, ok := o["--tproxy-mark"]; ok {
		c.Mode = ModeTProxy
	}
	slices.Sort(refused)
	return c, refused
}

// nameServers returns the captured name servers, as recogniser.nameServers does.
func (o origins) nameServers() []netip.Addr {
	values, dns := o["--redirect-dns"]
	if _, all := o["--capture-all-dns"]; !dns || all {
		return nil
	}
	var servers []netip.Addr
	for _, v := range values {
		if a, err := netip.ParseAddr(v); err == nil {
			servers = append(servers, a)
		}
	}
	if len(servers) == 0 {
		return []netip.Addr{netip.IPv6Unspecified()}
	}
	return servers
}
