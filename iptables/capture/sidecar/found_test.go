package sidecar_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/host"
)

func TestFound(t *testing.T) {
	t.Parallel()
	const proxy = "the proxy's users: 1337; its groups: 1337"
	linkLocal := netip.MustParsePrefix("fe80::1/64")
	global := netip.MustParsePrefix("2001:db8::1/64")
	servers := []netip.Addr{netip.MustParseAddr("10.96.0.10"), netip.MustParseAddr("2001:db8::53")}
	for name, test := range map[string]struct {
		change func(*sidecar.Config)
		host   host.Host
		want   []string
	}{
		"no IPv6": {func(*sidecar.Config) {}, host.Host{Addresses: []netip.Prefix{linkLocal}, NameServers: servers},
			[]string{"IPv6: not captured: the namespace has no global IPv6 address (--ipv6=auto)", proxy}},
		"IPv6": {func(*sidecar.Config) {}, host.Host{Addresses: []netip.Prefix{linkLocal, global}},
			[]string{"IPv6: captured: the namespace has a global IPv6 address (--ipv6=auto)", proxy}},
		"IPv6 on": {func(c *sidecar.Config) { c.IPv6 = sidecar.IPv6On }, host.Host{},
			[]string{"IPv6: captured (--ipv6=on)", proxy}},
		"IPv6 off": {func(c *sidecar.Config) { c.IPv6 = sidecar.IPv6Off }, host.Host{Addresses: []netip.Prefix{global}},
			[]string{"IPv6: not captured (--ipv6=off)", proxy}},
		"users": {func(c *sidecar.Config) {
			c.IPv6, c.ProxyUIDs, c.ProxyGIDs = sidecar.IPv6Off, []uint32{1, 2}, []uint32{3}
		}, host.Host{}, []string{"IPv6: not captured (--ipv6=off)", "the proxy's users: 1, 2; its groups: 3"}},
		"DNS": {func(c *sidecar.Config) { c.IPv6, c.RedirectDNS = sidecar.IPv6Off, true }, host.Host{NameServers: servers},
			[]string{"IPv6: not captured (--ipv6=off)", proxy, "name servers: 10.96.0.10, 2001:db8::53 (resolv.conf)"}},
		"all DNS": {func(c *sidecar.Config) { c.IPv6, c.RedirectDNS, c.CaptureAllDNS = sidecar.IPv6Off, true, true },
			host.Host{NameServers: servers},
			[]string{"IPv6: not captured (--ipv6=off)", proxy, "name servers: any (--capture-all-dns)"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := sidecar.Default()
			test.change(&cfg)
			if diff := cmp.Diff(test.want, cfg.Found(test.host, "resolv.conf")); diff != "" {
				t.Error(diff)
			}
		})
	}
}
