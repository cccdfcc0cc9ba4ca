package linkerd

import (
	"net/netip"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/host"
)

// Config is a complete and valid set of capture options. Every default is filled in.
type Config struct {
	// InboundPort is where the proxy accepts inbound connections, and OutboundPort where it
	// accepts outbound ones. Neither is 0.
	InboundPort, OutboundPort uint16

	// ProxyUIDs and ProxyGIDs are the users and groups whose traffic is the proxy's own. No
	// id is 2^32-1, which means nobody. ProxyUIDs is not empty.
	ProxyUIDs, ProxyGIDs []uint32

	// IncludedPorts are the inbound ports that are captured, except ExcludedPorts.
	IncludedPorts config.PortSelection
	ExcludedPorts []iptables.PortRange

	// ExcludedOutboundPorts are outbound ports that are not captured.
	ExcludedOutboundPorts []iptables.PortRange

	// ExcludedCIDRs are destinations that are not captured, whatever the port. They are of both
	// families, with host bits cleared.
	ExcludedCIDRs []netip.Prefix

	// ExcludedSourceCIDRs are clients whose inbound connections are left alone, whatever the
	// port. They are of both families, with host bits cleared.
	ExcludedSourceCIDRs []netip.Prefix

	// CloseWaitTimeout is how long conntrack keeps a connection that the peer has closed, in
	// seconds. 0 leaves that as it is.
	CloseWaitTimeout uint32

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
// annotations say. It names every option, in a fixed order, with numbers for names.
func (c Config) Args() []string {
	o := Options{cfg: c}
	return config.Arguments(o.Rows())
}

// Arguments implements [capture.Wanted]. The ports that are left alone are always named: beside
// annotations their defaults are others.
func (c Config) Arguments() []string {
	byDefault := Default()
	byDefault.ExcludedPorts, byDefault.ExcludedOutboundPorts = unlike(c.ExcludedPorts), unlike(c.ExcludedOutboundPorts)
	return config.Without(c.Args(), byDefault.Args())
}

// unlike returns another list.
func unlike(ports []iptables.PortRange) []iptables.PortRange {
	return append(slices.Clone(ports), iptables.Port(1))
}

// Set sets an option, by its name without dashes, to a value as Args prints it.
func (c *Config) Set(name, value string) error {
	o := Options{cfg: *c}
	err := config.SetOption(o.Rows(), name, value)
	*c = o.cfg
	return err
}

// NeedsNameServers returns false: no query is captured.
func (c Config) NeedsNameServers() (needs bool, instead string) { return false, "" }

// NeedsInterfaces returns false: no option names an interface.
func (c Config) NeedsInterfaces() bool { return false }

// ListenEverywhere implements [capture.Wanted].
func (c Config) ListenEverywhere(uint16) string { return "" }

// TakesFrom implements [capture.Wanted].
func (c Config) TakesFrom(host.Host) []string { return nil }

// Found returns what else the plan depends on, besides the options, a line each, for
// --verbose.
func (c Config) Found(h host.Host, _ string) []string {
	return []string{c.IPv6.Found(h, Ownership()), "the proxy's " + c.who()}
}

// who names the proxy's users and groups.
func (c Config) who() string {
	text := "users: " + capture.JoinIDs(c.ProxyUIDs)
	if len(c.ProxyGIDs) > 0 {
		text += "; its groups: " + capture.JoinIDs(c.ProxyGIDs)
	}
	return text
}

// IDs returns the users and groups that the rules name, by option.
func (c Config) IDs() []capture.IDs {
	return []capture.IDs{
		{Option: "proxy-uid", Users: c.ProxyUIDs, Proxy: true}, {Option: "proxy-gid", Groups: c.ProxyGIDs, Proxy: true},
	}
}
