package ambient

import (
	"net/netip"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/config"
)

// Recognise reads the options back from rules, whether this program or the reference
// wrote them: from the origins stored with the rules, or else from what the rules look
// like. Options that make no rule have their default, such as the routing table, or
// ports excluded beside a list of included ones. Wanted of the result is a [Config].
//
// form returns a plan as it reads back from the kernel, in the form of the rules.
func Recognise(rs iptables.Ruleset, form func(iptables.Plan) iptables.Ruleset) capture.Recognised {
	return capture.Recognise(Ownership(), rs, form, shapeOf, listedField, withOrigins)
}

// shapeOf returns the options that rules look like.
func shapeOf(rs *iptables.Ruleset) Config {
	var r recogniser
	for _, f := range iptables.Families() {
		one := recogniser{cfg: unknown()}
		one.family(rs, f)
		r.merge(one)
	}
	return r.config()
}

// unknown is a Config before any rule is read: without lists, and with defaults for the
// rest.
func unknown() Config { return withoutLists(Default()) }

func withoutLists(c Config) Config {
	c.IncludedPorts, c.ExcludedPorts = config.PortSelection{}, nil
	c.IncludedOutboundPorts, c.ExcludedOutboundPorts = nil, nil
	c.IncludedCIDRs, c.ExcludedCIDRs, c.ExcludedSourceCIDRs = config.CIDRSelection{}, nil, nil
	c.ExcludedInterfaces, c.VirtualInterfaces = nil, nil
	c.RedirectDNS, c.RedirectVirtualDNS = false, false
	return c
}

// recogniser collects what the rules of one family say, then of both.
type recogniser struct {
	cfg      Config
	families []iptables.Family
	// returned are the inbound ports that are exempt: those of --excluded-ports, or with a
	// list of captured ports the tunnel's.
	returned []iptables.PortRange
	// queries says that the rule for DNS over UDP was read and that for TCP was not.
	queries bool
}

// merge adds what the other family says. Both say the same, except about addresses.
func (r *recogniser) merge(other recogniser) {
	switch {
	case len(other.families) == 0:
		return
	case len(r.families) == 0:
		*r = other
		return
	}
	c, o := &r.cfg, &other.cfg
	r.families = append(r.families, other.families...)
	c.HostProbe.IPv6 = o.HostProbe.IPv6
	c.IncludedCIDRs.All = c.IncludedCIDRs.All || o.IncludedCIDRs.All
	addTo(&c.IncludedCIDRs.CIDRs, o.IncludedCIDRs.CIDRs)
	addTo(&c.ExcludedCIDRs, o.ExcludedCIDRs)
	addTo(&c.ExcludedSourceCIDRs, o.ExcludedSourceCIDRs)
}

func addTo(list *[]netip.Prefix, more []netip.Prefix) { *list = append(*list, more...) }

// config returns the collected options, with defaults for what is unknown.
func (r *recogniser) config() Config {
	if len(r.families) == 0 {
		return Default()
	}
	c := r.cfg
	switch {
	case c.IncludedPorts.All:
		c.ExcludedPorts = r.returned
	case len(r.returned) == 1:
		c.TunnelPort = r.returned[0].First
	}
	c.IPv6 = capture.IPv6Off
	if slices.Contains(r.families, iptables.IPv6) {
		c.IPv6 = capture.IPv6On
	}
	return c
}
