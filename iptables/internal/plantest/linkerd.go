package plantest

import (
	"math/rand/v2"
	"strings"

	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/capture/linkerd"
	"github.com/meshtables/meshtables/iptables/config"
)

// Linkerd returns a made-up configuration of Linkerd's sidecars, as [Options] does of Istio's.
func Linkerd(seed uint64) linkerd.Config {
	g := generator{rand.New(rand.NewPCG(seed, 7))}
	cfg := linkerd.Default()
	cfg.ProxyUIDs = g.ids(3)
	if g.in(2) {
		cfg.ProxyGIDs = g.ids(3)
	}
	cfg.ExcludedPorts, cfg.ExcludedOutboundPorts = g.ports(60), g.ports(60)
	switch g.IntN(4) {
	case 0:
		cfg.IncludedPorts = config.PortSelection{Ports: g.ports(60)}
	case 1:
		cfg.IncludedPorts = config.PortSelection{}
	}
	if g.in(2) {
		cfg.ExcludedSourceCIDRs = g.prefixes(12)
	}
	if g.in(2) {
		cfg.ExcludedCIDRs = g.prefixes(12)
	}
	if g.in(4) {
		cfg.InboundPort, cfg.OutboundPort = 1000+uint16(g.UintN(200)), 1000+uint16(g.UintN(200))
	}
	cfg.IPv6 = capture.IPv6Off
	if g.in(2) {
		cfg.IPv6 = capture.IPv6On
	}
	for _, arg := range cfg.Args() {
		name, value, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if err := cfg.Set(name, value); err != nil {
			panic(err)
		}
	}
	return cfg
}
