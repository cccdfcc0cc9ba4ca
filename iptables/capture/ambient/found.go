package ambient

import (
	"fmt"

	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/host"
)

// NeedsNameServers returns false: queries to all servers are captured.
func (c Config) NeedsNameServers() (needs bool, instead string) { return false, "" }

// NeedsInterfaces reports whether the plan, or a warning of it, depends on the interfaces.
func (c Config) NeedsInterfaces() bool { return len(c.ExcludedInterfaces)+len(c.VirtualInterfaces) > 0 }

// Found returns what else the plan depends on, besides the options, a line each, for
// --verbose.
func (c Config) Found(h host.Host, _ string) []string {
	lines := []string{c.IPv6.Found(h, Ownership()), fmt.Sprintf("the proxy's mark: %v", c.ProxyMark)}
	if c.capturesDNS() {
		lines = append(lines, "name servers: any")
	}
	return append(lines, capture.FoundVirtual(c.VirtualInterfaces, h)...)
}

// IDs returns none: no rule names a user or a group.
func (c Config) IDs() []capture.IDs { return nil }

// ListenEverywhere implements [capture.Wanted].
func (c Config) ListenEverywhere(port uint16) string {
	return capture.ListenForDNS(port, c.DNSPort, "ztunnel (variable PROXY_CONFIG of its DaemonSet)")
}

// TakesFrom implements [capture.Wanted].
func (c Config) TakesFrom(h host.Host) []string {
	return capture.VirtualInterfaces(c.VirtualInterfaces, h)
}
