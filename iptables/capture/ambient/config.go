package ambient

import (
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/config"
)

// Config is a complete and valid set of capture options. Every default is filled in.
type Config struct {
	// OutboundPort is where the proxy accepts outbound connections, InboundPort
	// where it accepts inbound ones, TunnelPort where it accepts tunnelled ones (HBONE),
	// and DNSPort where it answers DNS queries. None is 0.
	OutboundPort, InboundPort, TunnelPort, DNSPort uint16

	// ProxyMark is on what the proxy sends. ConnectionMark is on its connections to the
	// application and on the answers. No packet has both.
	ProxyMark, ConnectionMark config.MaskedMark

	// RoutingTable is the number of the routing table that delivers packets with
	// ConnectionMark to the proxy. It is not 0.
	RoutingTable uint32

	// HostProbe is from where the node's health probes come.
	HostProbe ProbeAddresses

	// IncludedPorts are the inbound ports that are captured: none for a gateway, which
	// takes connections itself. ExcludedPorts are exempt if IncludedPorts.All is set; with
	// a list they have no effect.
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

	// ExcludedInterfaces are left alone in both directions. What comes in by
	// VirtualInterfaces is outbound traffic of a virtual machine; [capture.VirtualInterfaces]
	// says which they are. A trailing "+" matches any rest of a name.
	ExcludedInterfaces, VirtualInterfaces []string

	// RedirectDNS sends DNS queries to DNSPort, whatever the server.
	RedirectDNS bool
	// RedirectVirtualDNS does so with queries that come in by VirtualInterfaces too.
	RedirectVirtualDNS bool

	// IPv6 says whether IPv6 is captured.
	IPv6 capture.IPv6

	// Comments adds to each rule a comment with the option that it comes from.
	Comments bool
}

// Default returns the Config without any option.
func Default() Config {
	var o Options
	config.SetDefaults(o.Rows())
	return o.cfg
}

// Args returns the arguments that give this Config, whatever the environment and the
// annotations say. It names every option, in a fixed order.
func (c Config) Args() []string {
	o := Options{cfg: c}
	return config.Arguments(o.Rows())
}

// Arguments implements [capture.Wanted].
func (c Config) Arguments() []string { return config.Without(c.Args(), Default().Args()) }

// Set sets an option, by its name without dashes, to a value as Args prints it.
func (c *Config) Set(name, value string) error {
	o := Options{cfg: *c}
	err := config.SetOption(o.Rows(), name, value)
	*c = o.cfg
	return err
}
