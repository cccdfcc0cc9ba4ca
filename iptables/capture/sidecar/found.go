package sidecar

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/host"
)

// NeedsNameServers reports whether the plan depends on the namespace's name servers. If
// so, instead is the end of a hint: how to avoid that.
func (c Config) NeedsNameServers() (needs bool, instead string) {
	return c.RedirectDNS && !c.CaptureAllDNS, "capture queries to all servers with --capture-all-dns"
}

// NeedsInterfaces reports whether the plan, or a warning of it, depends on the interfaces.
func (c Config) NeedsInterfaces() bool { return len(c.ExcludedInterfaces)+len(c.VirtualInterfaces) > 0 }

// Found returns what else the plan depends on, besides the options, a line each, for
// --verbose. The name servers of h are those of the file resolvConf.
func (c Config) Found(h host.Host, resolvConf string) []string {
	list := func(words []string) string { return strings.Join(words, ", ") }
	lines := []string{
		c.IPv6.Found(h, Ownership()),
		fmt.Sprintf("the proxy's users: %s; its groups: %s", list(capture.Texts(c.ProxyUIDs, number)), list(capture.Texts(c.ProxyGIDs, number))),
	}
	switch {
	case !c.RedirectDNS:
	case c.CaptureAllDNS:
		lines = append(lines, "name servers: any (--capture-all-dns)")
	case len(h.NameServers) > 0:
		lines = append(lines, fmt.Sprintf("name servers: %s (%s)", list(capture.Texts(h.NameServers, netip.Addr.String)), resolvConf))
	}
	return append(lines, capture.FoundVirtual(c.VirtualInterfaces, h)...)
}

// ListenEverywhere implements [capture.Wanted].
func (c Config) ListenEverywhere(port uint16) string {
	return capture.ListenForDNS(port, c.DNSPort, "the pod's proxy (annotation proxy.istio.io/config)")
}

// TakesFrom implements [capture.Wanted].
func (c Config) TakesFrom(h host.Host) []string {
	return capture.VirtualInterfaces(c.VirtualInterfaces, h)
}
