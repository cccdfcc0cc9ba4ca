package ambient

import (
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
)

// listedField returns what the option behind a rule is a list of.
func listedField(r *iptables.Rule) iptables.SetField {
	switch r.Origin.Option {
	case optionIncludedCIDRs, "--excluded-cidrs":
		return iptables.DestinationAddress
	case "--excluded-source-cidrs":
		return iptables.SourceAddress
	case "--excluded-interfaces", optionVirtualInterfaces, capture.OptionRedirectVirtualDNS:
		if _, _, ok := r.Values(iptables.OutInterface); ok {
			return iptables.OutInterface
		}
		return iptables.InInterface
	}
	return iptables.DestinationPort
}

// withOrigins returns the options that rules were stored with. An option without rules is as
// in c, which the rules look like, or empty if it is a list. So is an option whose value is
// not valid; refused has these options, sorted.
func withOrigins(c Config, told capture.Origins) (_ Config, refused []string) {
	c = withoutLists(c)
	for option, values := range told {
		switch option {
		case iptables.BuiltIn:
		case optionRedirectDNS:
			c.RedirectDNS = true
		case capture.OptionRedirectVirtualDNS:
			c.RedirectVirtualDNS = true
		default:
			if c.Set(strings.TrimPrefix(option, "--"), strings.Join(values, ",")) != nil {
				refused = append(refused, option)
			}
		}
	}
	slices.Sort(refused)
	return c, refused
}
