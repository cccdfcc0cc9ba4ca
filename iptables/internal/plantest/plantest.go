// Package plantest makes up plans for tests that hold for every plan. It is for
// tests only.
package plantest

import (
	"math/rand/v2"
	"net/netip"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/host"
)

// Random returns the rules of [Options].
func Random(seed uint64) iptables.Plan {
	cfg, h := Options(seed)
	return cfg.Plan(h).Rules
}

// Options returns a made-up configuration and its host, the same for the same seed. Lists
// have a few values or some dozens. Some values are equal, overlap or touch: lists may
// have all addresses of a family, whole or as two halves, and "tap1+" with "tap2+".
func Options(seed uint64) (sidecar.Config, host.Host) {
	g := generator{rand.New(rand.NewPCG(seed, 5))}
	cfg := sidecar.Default()
	cfg.ProxyUIDs, cfg.ProxyGIDs = g.ids(3), g.ids(3)
	cfg.ExcludedOutboundPorts, cfg.IncludedOutboundPorts = g.ports(60), g.ports(40)
	cfg.ExcludedPorts = g.ports(60)
	if g.in(3) {
		cfg.IncludedPorts = config.PortSelection{Ports: g.ports(60)}
	}
	if g.in(2) {
		cfg.IncludedCIDRs = config.CIDRSelection{CIDRs: g.prefixes(12)}
	}
	cfg.ExcludedCIDRs = g.prefixes(12)
	if g.in(2) {
		cfg.ExcludedSourceCIDRs, cfg.ExcludedUIDs = g.prefixes(6), g.users(5)
	}
	if g.in(4) {
		cfg.LoopbackCIDR = netip.MustParsePrefix("127.0.0.0/8")
	}
	if g.in(2) {
		cfg.Mode = sidecar.ModeTProxy
	}
	if g.in(3) {
		cfg.ExcludedInterfaces = g.interfaces()
	}
	if g.in(3) {
		cfg.VirtualInterfaces = g.interfaces()
	}
	switch g.IntN(3) {
	case 0:
		cfg.IncludedGroups = config.GroupSelection{Groups: g.ids(5)}
	case 1:
		cfg.ExcludedGroups = g.ids(5)
	}
	cfg.RedirectDNS, cfg.CaptureAllDNS, cfg.DropInvalid = g.in(2), g.in(3), g.in(3)
	cfg.IPv6 = sidecar.IPv6Off
	if g.in(2) {
		cfg.IPv6 = sidecar.IPv6On
	}
	if g.in(8) {
		cfg.TunnelPort = 52 + uint16(g.UintN(3))
	}
	if g.in(8) {
		cfg.ExcludedUIDs = g.similarUsers(60)
	}
	h := g.host()
	if len(cfg.VirtualInterfaces) > 0 {
		g.machines(&cfg.VirtualInterfaces, &cfg.RedirectVirtualDNS)
		h.Interfaces = g.found()
	}
	return given(cfg), h
}

// given returns the options as they are when somebody has given them: an item of a list
// is there once.
func given(cfg sidecar.Config) sidecar.Config {
	for _, arg := range cfg.Args() {
		name, value, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if err := cfg.Set(name, value); err != nil {
			panic(err)
		}
	}
	return cfg
}

type generator struct{ *rand.Rand }

// in is true once in n times.
func (g generator) in(n int) bool { return g.IntN(n) == 0 }

func (g generator) host() host.Host {
	h := host.Host{Addresses: []netip.Prefix{netip.MustParsePrefix("10.1.2.3/24")}}
	for _, s := range []string{"10.96.0.10", "10.96.0.11", "fd00::10", "fd00::11"} {
		if g.in(2) {
			h.NameServers = append(h.NameServers, netip.MustParseAddr(s))
		}
	}
	return h
}

func (g generator) ids(most int) []uint32 {
	ids := make([]uint32, 1+g.IntN(most))
	for i := range ids {
		ids[i] = 1337 + g.Uint32N(6)
	}
	return ids
}

// users are all that they send, or what they send by a protocol or to some ports.
func (g generator) users(most int) []sidecar.UserTraffic {
	users := make([]sidecar.UserTraffic, 1+g.IntN(most))
	for i := range users {
		u := &users[i]
		u.First = 1335 + g.Uint32N(6)
		u.Last = u.First + g.Uint32N(3)
		u.Protocol = []iptables.Protocol{"", iptables.TCP, iptables.UDP}[g.IntN(3)]
		if g.in(2) {
			u.Ports = iptables.Port(uint16(1000 + g.UintN(200)))
		}
	}
	return users
}

// similarUsers are such that runs of them differ in their users or ports only.
func (g generator) similarUsers(most int) []sidecar.UserTraffic {
	users := make([]sidecar.UserTraffic, 1+g.IntN(most))
	for i := range users {
		u := &users[i]
		if i > 0 {
			*u = users[i-1]
		}
		switch {
		case g.in(20):
			u.Protocol = []iptables.Protocol{"", iptables.TCP, iptables.UDP}[g.IntN(3)]
		case g.in(12):
			u.Ports = iptables.PortRange{}
		case g.in(2) && u.Ports != iptables.PortRange{}:
			u.Ports = iptables.Port(52 + uint16(g.UintN(80)))
		case g.in(2):
			u.First = 1335 + g.Uint32N(20)
			u.Last = u.First + g.Uint32N(2)
		case g.in(3):
			u.Ports = iptables.Port(52 + uint16(g.UintN(4)))
		}
		u.First = max(u.First, 1000)
		u.Last = max(u.Last, u.First)
	}
	return users
}

func (g generator) ports(most int) []iptables.PortRange {
	if !g.in(3) {
		most = 3
	}
	ports := make([]iptables.PortRange, g.IntN(most+1))
	for i := range ports {
		ports[i] = iptables.Port(uint16(1000 + g.UintN(200)))
		if g.in(4) {
			ports[i].Last += uint16(g.UintN(9))
		}
	}
	return ports
}

// aroundDNS is the port of DNS, or a range with it.
func (g generator) aroundDNS() iptables.PortRange {
	return iptables.PortRange{First: 53 - uint16(g.UintN(2)), Last: 53 + uint16(g.UintN(2))}
}

func (g generator) prefixes(most int) []netip.Prefix {
	prefixes := make([]netip.Prefix, g.IntN(most+1))
	for i := range prefixes {
		a, bits := netip.AddrFrom4([4]byte{10, byte(g.UintN(3)), byte(g.UintN(4)), byte(g.UintN(8))}), 8+g.IntN(25)
		switch {
		case g.in(10):
			a = netip.AddrFrom4([4]byte{127, 0, 0, byte(g.UintN(3))})
		case g.in(2):
			b := [16]byte{0: 0xfd, 7: byte(g.UintN(2)), 15: byte(g.UintN(8))}
			a, bits = netip.AddrFrom16(b), 56+g.IntN(73)
		}
		prefixes[i] = netip.PrefixFrom(a, bits).Masked()
	}
	if g.in(4) {
		halves := [][]string{{"0.0.0.0/1", "128.0.0.0/1"}, {"::/1", "8000::/1"}, {"10.64.0.0/11", "10.96.0.0/11"}, {"0.0.0.0/0"}, {"::/0"}}
		for _, half := range halves[g.IntN(len(halves))] {
			prefixes = append(prefixes, netip.MustParsePrefix(half))
		}
	}
	return prefixes
}

// machines makes up what else --virtual-interfaces has, and whether DNS from there is captured.
func (g generator) machines(names *[]string, dns *bool) {
	if g.in(3) {
		*names = append(*names, "auto")
	}
	if g.in(3) {
		*names = append(*names, "docker*", "br-+")
	}
	*dns = g.in(2)
}

// found are interfaces of a namespace, some of them virtual.
func (g generator) found() []host.Interface {
	all := []host.Interface{{Name: "eth0", Up: true, Uplink: true}}
	for _, name := range []string{"docker0", "lab0", "tap7", "zz"} {
		if g.in(2) {
			all = append(all, host.Interface{Name: name, Virtual: g.in(2), Uplink: g.in(6)})
		}
	}
	return all
}

func (g generator) interfaces() []string {
	names := []string{"eth0", "eth+", "net1", "tap0", "tap1+", "tap2+", "abcdefghijklmno"}
	g.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names[:1+g.IntN(4)]
}
