package sidecar

import (
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/config"
)

// Config is a complete and valid set of capture options. Every default is filled in,
// and users and groups are numbers.
type Config struct {
	// OutboundPort is where the proxy accepts outbound connections, InboundPort
	// where it accepts inbound ones, and TunnelPort where it accepts tunnelled ones
	// (HBONE). ModeRedirect leaves TunnelPort alone; ModeTProxy does so only if
	// ExcludedPorts names it. None is 0.
	OutboundPort, InboundPort, TunnelPort uint16

	// ProxyUIDs and ProxyGIDs are the users and groups whose traffic is the
	// proxy's own. Neither is empty. No id is 2^32-1, which means nobody.
	ProxyUIDs, ProxyGIDs []uint32

	// Mode is how inbound connections get to the proxy.
	Mode Mode

	// IncludedPorts are the inbound ports that are captured. ExcludedPorts are
	// exempt if IncludedPorts.All is set; with a list they have no effect.
	IncludedPorts config.PortSelection
	ExcludedPorts []iptables.PortRange

	// IncludedOutboundPorts are captured, whatever the address.
	// ExcludedOutboundPorts never are.
	IncludedOutboundPorts, ExcludedOutboundPorts []iptables.PortRange

	// IncludedCIDRs are the outbound destinations that are captured, except those
	// in ExcludedCIDRs. Both have prefixes of both families, in the order given,
	// with host bits cleared.
	IncludedCIDRs config.CIDRSelection
	ExcludedCIDRs []netip.Prefix

	// ExcludedSourceCIDRs are clients whose inbound connections are left alone,
	// whatever the port. They are of both families, with host bits cleared.
	ExcludedSourceCIDRs []netip.Prefix

	// ExcludedUIDs is users' outbound traffic that is left alone.
	ExcludedUIDs []UserTraffic

	// ExcludedInterfaces are left alone in both directions. What comes in by
	// VirtualInterfaces is outbound traffic of a virtual machine; [capture.VirtualInterfaces]
	// says which they are. A trailing "+" matches any rest of a name.
	ExcludedInterfaces, VirtualInterfaces []string

	// TProxyMark is the mark of packets that TPROXY hands to the proxy, and
	// TProxyTable is the number of the routing table that delivers them. Neither
	// is 0.
	TProxyMark, TProxyTable uint32

	// RedirectDNS sends DNS queries to DNSPort: queries to the name servers of
	// resolv.conf, or with CaptureAllDNS to any server.
	RedirectDNS, CaptureAllDNS bool
	DNSPort                    uint16
	// RedirectVirtualDNS does so with queries that come in by VirtualInterfaces too.
	RedirectVirtualDNS bool

	// IncludedGroups are the groups whose outbound traffic is captured.
	// ExcludedGroups are exempt if IncludedGroups.All is set; with a list they
	// have no effect.
	IncludedGroups config.GroupSelection
	ExcludedGroups []uint32

	// LoopbackCIDR is the IPv4 range that counts as the pod itself.
	LoopbackCIDR netip.Prefix

	// DropInvalid drops packets that connection tracking cannot place.
	DropInvalid bool

	// IPv6 says whether IPv6 is captured.
	IPv6 IPv6

	// Comments adds to each rule a comment with the option that it comes from.
	Comments bool
}

// Mode is how inbound connections get to the proxy.
type Mode string

// The modes. REDIRECT rewrites the destination. TPROXY keeps both addresses, so that
// the proxy sees who connects.
const (
	ModeRedirect Mode = "REDIRECT"
	ModeTProxy   Mode = "TPROXY"
)

// IPv6 says whether IPv6 is captured.
type IPv6 = capture.IPv6

// The values of --ipv6; see [capture.IPv6].
const (
	IPv6Auto = capture.IPv6Auto
	IPv6On   = capture.IPv6On
	IPv6Off  = capture.IPv6Off
)

// MaxIncludedGroups is the longest list of included groups. They share one rule, with
// a match for each.
const MaxIncludedGroups = 64

// Default returns the Config without any option, on a system that has no user
// istio-proxy.
func Default() Config {
	var o Options
	config.SetDefaults(o.Rows())
	o.cfg.ProxyUIDs, o.cfg.ProxyGIDs = []uint32{fallbackID}, []uint32{fallbackID}
	return o.cfg
}

// Args returns the arguments that give this Config, whatever the environment and the
// annotations say. It names every option, in a fixed order, with numbers for names.
func (c Config) Args() []string {
	o := Options{cfg: c}
	return config.Arguments(o.Rows())
}

// Arguments implements [capture.Wanted]. The users that the proxy runs as are always
// named: their default depends on the system. Its groups have the same numbers by default.
func (c Config) Arguments() []string {
	var byDefault Options
	rows := byDefault.Rows()
	config.SetDefaults(rows)
	byDefault.cfg.ProxyUIDs, byDefault.cfg.ProxyGIDs = nil, c.ProxyUIDs
	return config.Without(c.Args(), config.Arguments(rows))
}

// Set sets an option, by its name without dashes, to a value as Args prints it: numbers
// for names, commas in lists.
func (c *Config) Set(name, value string) error {
	o := Options{cfg: *c}
	err := config.SetOption(o.Rows(), name, value)
	*c = o.cfg
	return err
}

// IDs returns the users and groups that the rules name, by option.
func (c Config) IDs() []capture.IDs {
	return []capture.IDs{
		{Option: "proxy-uid", Users: c.ProxyUIDs, Proxy: true},
		{Option: "proxy-gid", Groups: c.ProxyGIDs, Proxy: true},
		{Option: "included-groups", Groups: c.IncludedGroups.Groups},
		{Option: "excluded-groups", Groups: c.ExcludedGroups},
		{Option: "excluded-uids", Users: bounds(c.ExcludedUIDs)},
	}
}

// bounds returns the first and the last of each range of users.
func bounds(users []UserTraffic) []uint32 {
	var ids []uint32
	for _, u := range users {
		ids = append(ids, u.First, u.Last)
	}
	return ids
}
