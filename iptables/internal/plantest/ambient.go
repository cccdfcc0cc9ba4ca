package plantest

import (
	"math/rand/v2"
	"net/netip"
	"strings"

	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/capture/ambient"
	"github.com/meshtables/meshtables/iptables/config"
)

// Ambient returns a made-up configuration of ambient mode, as [Options] does of sidecars.
func Ambient(seed uint64) ambient.Config {
	g := generator{rand.New(rand.NewPCG(seed, 6))}
	cfg := ambient.Default()
	cfg.ExcludedPorts = g.ports(60)
	switch g.IntN(4) {
	case 0:
		cfg.IncludedPorts = config.PortSelection{Ports: g.ports(60)}
	case 1:
		cfg.IncludedPorts = config.PortSelection{}
	}
	cfg.IncludedOutboundPorts, cfg.ExcludedOutboundPorts = g.ports(40), g.ports(60)
	if g.in(2) {
		cfg.IncludedCIDRs = config.CIDRSelection{CIDRs: g.prefixes(12)}
	}
	cfg.ExcludedCIDRs = g.prefixes(12)
	if g.in(2) {
		cfg.ExcludedSourceCIDRs = g.prefixes(6)
	}
	if g.in(3) {
		cfg.ExcludedInterfaces = g.interfaces()
	}
	if g.in(3) {
		cfg.VirtualInterfaces = g.interfaces()
	}
	cfg.RedirectDNS = g.in(2)
	g.proxy(&cfg)
	cfg.IPv6 = capture.IPv6Off
	if g.in(2) {
		cfg.IPv6 = capture.IPv6On
	}
	if len(cfg.VirtualInterfaces) > 0 {
		g.machines(&cfg.VirtualInterfaces, &cfg.RedirectVirtualDNS)
	}
	return givenAmbient(cfg)
}

// proxy makes up what the proxy is known by. Some of its ports are those of other rules.
func (g generator) proxy(cfg *ambient.Config) {
	if g.in(4) {
		cfg.ProxyMark, cfg.ConnectionMark = config.MaskedMark{Value: 5, Mask: 0xff}, config.MaskedMark{Value: 0x106, Mask: 0xffffffff}
	}
	if g.in(4) {
		cfg.TunnelPort, cfg.DNSPort = 1000+uint16(g.UintN(200)), cfg.OutboundPort
	}
	if g.in(4) {
		cfg.HostProbe.IPv4 = netip.AddrFrom4([4]byte{10, 0, byte(g.UintN(4)), byte(g.UintN(8))})
	}
	if g.in(4) {
		cfg.IncludedOutboundPorts = append(cfg.IncludedOutboundPorts, g.aroundDNS())
	}
	if g.in(8) {
		cfg.ExcludedOutboundPorts = append(cfg.ExcludedOutboundPorts, g.aroundDNS())
	}
}

// givenAmbient returns the options as they are when somebody has given them.
func givenAmbient(cfg ambient.Config) ambient.Config {
	for _, arg := range cfg.Args() {
		name, value, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if err := cfg.Set(name, value); err != nil {
			panic(err)
		}
	}
	return cfg
}
