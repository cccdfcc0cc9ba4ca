package sidecar

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/config"
)

// originsOf returns the options that rules were stored with. ok is true if any rule has one;
// then the rules without one were added by somebody else.
func originsOf(rs iptables.Ruleset) (told origins, ok bool) {
	own := Ownership().Of(rs)
	o := capture.OriginsOf(own, listedField)
	if _, given := o[optionExcludedUIDs]; given {
		o[optionExcludedUIDs] = excludedUsersIn(&own)
	}
	return origins{o}, len(o) > 0
}

// origins are the options that rules were stored with.
type origins struct{ capture.Origins }

// listedField returns what the option behind a rule is a list of.
func listedField(r *iptables.Rule) iptables.SetField {
	switch r.Origin.Option {
	case "--included-cidrs", "--excluded-cidrs":
		return iptables.DestinationAddress
	case "--excluded-source-cidrs":
		return iptables.SourceAddress
	case "--excluded-interfaces", "--virtual-interfaces", capture.OptionRedirectVirtualDNS:
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
	c.RedirectDNS, c.CaptureAllDNS, c.RedirectVirtualDNS, c.DropInvalid = false, false, false, false
	for option, values := range o.Origins {
		switch option {
		case iptables.BuiltIn:
		case "--redirect-dns":
			c.RedirectDNS = true
		case "--capture-all-dns", "--drop-invalid", capture.OptionRedirectVirtualDNS:
			values = []string{"true"}
			fallthrough
		default:
			if c.Set(strings.TrimPrefix(option, "--"), strings.Join(values, ",")) != nil {
				refused = append(refused, option)
			}
		}
	}
	if _, ok := o.Origins["--tproxy-mark"]; ok {
		c.Mode = ModeTProxy
	}
	slices.Sort(refused)
	return c, refused
}

// nameServers returns the captured name servers, as recogniser.nameServers does.
func (o origins) nameServers() []netip.Addr {
	values, dns := o.Origins["--redirect-dns"]
	if _, all := o.Origins["--capture-all-dns"]; !dns || all {
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
