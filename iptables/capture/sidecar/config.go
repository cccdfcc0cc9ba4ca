package sidecar

import (
	"fmt"
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/config"
)

// Config is a complete and valid set of capture options: every default is
// filled in, every name of a user or group is a number.
type Config struct {
	// OutboundPort is where the proxy accepts outbound connections,
	// InboundPort where it accepts inbound ones, TunnelPort where it accepts
	// tunnelled ones (HBONE), which ModeRedirect leaves alone. In ModeTProxy
	// only ExcludedPorts does. None is 0.
	OutboundPort, InboundPort, TunnelPort uint16

	// ProxyUIDs and ProxyGIDs are the users and groups whose traffic is the
	// proxy's own. Neither is empty. No id is 2^32-1, which stands for nobody.
	ProxyUIDs, ProxyGIDs []uint32

	// Mode is how inbound connections get to the proxy.
	Mode Mode

	// IncludedPorts are the inbound ports that are captured; ExcludedPorts
	// are exempt from IncludedPorts.All and have no effect beside a list.
	IncludedPorts config.PortSelection
	ExcludedPorts []iptables.PortRange

	// IncludedOutboundPorts are captured whatever the address,
	// ExcludedOutboundPorts never.
	IncludedOutboundPorts, ExcludedOutboundPorts []iptables.PortRange

	// IncludedCIDRs are the outbound destinations that are captured, without
	// those in ExcludedCIDRs. Both hold prefixes of both families, in the
	// order given, with host bits cleared.
	IncludedCIDRs config.CIDRSelection
	ExcludedCIDRs []netip.Prefix

	// ExcludedSourceCIDRs are clients whose inbound connections are left alone,
	// whatever the port; of both families, host bits cleared.
	ExcludedSourceCIDRs []netip.Prefix

	// ExcludedUIDs is outbound traffic of users that is left alone.
	ExcludedUIDs []UserTraffic

	// ExcludedInterfaces are left alone in both directions. What comes in by
	// VirtualInterfaces is outbound traffic, of a virtual machine. A trailing
	// "+" stands for any rest of a name.
	ExcludedInterfaces, VirtualInterfaces []string

	// TProxyMark is the mark of packets that the proxy gets by TPROXY,
	// TProxyTable the number of the routing table that delivers them. Neither
	// is 0.
	TProxyMark, TProxyTable uint32

	// RedirectDNS sends DNS queries to DNSPort: those to the name servers of
	// resolv.conf, or with CaptureAllDNS those to any server.
	RedirectDNS, CaptureAllDNS bool
	DNSPort                    uint16

	// IncludedGroups are the groups whose outbound traffic is captured;
	// ExcludedGroups are exempt from IncludedGroups.All and have no effect
	// beside a list.
	IncludedGroups config.GroupSelection
	ExcludedGroups []uint32

	// LoopbackCIDR is the IPv4 range that counts as the pod itself.
	LoopbackCIDR netip.Prefix

	// DropInvalid drops packets that connection tracking cannot place.
	DropInvalid bool

	// IPv6 tells whether IPv6 is captured.
	IPv6 IPv6

	// Comments gives each rule a comment with the option that it comes from.
	Comments bool
}

// Mode is how inbound connections get to the proxy.
type Mode string

// The modes. REDIRECT rewrites the destination; TPROXY leaves both addresses as
// they are, so that the proxy sees who connects.
const (
	ModeRedirect Mode = "REDIRECT"
	ModeTProxy   Mode = "TPROXY"
)

// IPv6 tells whether IPv6 is captured.
type IPv6 string

// The values of --ipv6. Auto captures it where the namespace has an address that
// other machines can reach.
const (
	IPv6Auto IPv6 = "auto"
	IPv6On   IPv6 = "on"
	IPv6Off  IPv6 = "off"
)

// MaxIncludedGroups bounds a list of included groups: all of them share one
// rule, with one match each.
const MaxIncludedGroups = 64

// Default returns the Config of somebody who gives no option, on a system
// without a user istio-proxy.
func Default() Config {
	var o Options
	for _, row := range o.Rows() {
		// A default that is not a valid value of its option fails the tests.
		_ = row.Value.Set(row.Default)
	}
	o.cfg.ProxyUIDs, o.cfg.ProxyGIDs = []uint32{fallbackID}, []uint32{fallbackID}
	return o.cfg
}

// Args returns the arguments that ask for this Config, all of them, whatever the
// environment and the annotations say: numbers for names, one fixed order.
func (c Config) Args() []string {
	var args []string
	o := Options{cfg: c}
	for _, row := range o.Rows() {
		// What is hidden is another way to say what a shown option says.
		if !row.Hidden {
			args = append(args, "--"+row.Name+"="+row.Value.String())
		}
	}
	return args
}

// Set gives an option, by its name without dashes, the value that Args would print
// for it: numbers for names, commas in lists.
func (c *Config) Set(name, value string) error {
	o := Options{cfg: *c}
	for _, row := range o.Rows() {
		if row.Name == name {
			err := row.Value.Set(value)
			*c = o.cfg
			return err
		}
	}
	return fmt.Errorf("there is no option --%s", name)
}

// IDs returns the users and groups that rules are about, by their options.
func (c Config) IDs() []capture.IDs {
	return []capture.IDs{
		{Option: "proxy-uid", Users: c.ProxyUIDs},
		{Option: "proxy-gid", Groups: c.ProxyGIDs},
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
