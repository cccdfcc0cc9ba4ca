// Package sidecar is the policy of Istio's sidecars. It makes rules from options, and
// reads options back from rules.
//
// [Config.Plan] is a pure function. Each rule carries the option that it comes from. A
// comment in the code gives the reason for each decision. In REDIRECT mode, without
// interface options and --comments, the rules are the reference's (istio-iptables) to
// the letter. Elsewhere they do the same to every packet.
package sidecar

import (
	"net/netip"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/host"
)

// Plan returns what the options ask for, in a namespace with the addresses and name
// servers of h.
func (c Config) Plan(h host.Host) capture.Capture {
	families := capturedFamilies(c, h)
	dns := planDNS(c, h)
	return capture.Capture{
		Rules: iptables.Plan{
			Families: families,
			Comments: c.Comments,
			Tables:   newPlanner(c, families, dns, h).tables(),
			Doubled:  doubled,
		},
		Routing:  planRouting(c, families),
		Sysctls:  sysctls(c, h),
		Warnings: warnings(c, h, dns, families),
	}
}

func capturedFamilies(c Config, h host.Host) []iptables.Family {
	return c.IPv6.Families(h, Ownership())
}

func planRouting(cfg Config, families []iptables.Family) iptables.Routing {
	var r iptables.Routing
	if cfg.Mode == ModeTProxy && capturesInbound(cfg) {
		r.Mark, r.Table, r.Families = cfg.TProxyMark, cfg.TProxyTable, families
		r.TableOption, r.Without = "--tproxy-table", "--mode=REDIRECT"
	}
	// In IPv4 lo has all of 127.0.0.0/8. In IPv6 the proxy's own source address has
	// to be added.
	if slices.Contains(families, iptables.IPv6) {
		r.Addresses = []netip.Prefix{passthrough(iptables.IPv6)}
	}
	return r
}

// sysctls are for the connections that are redirected. TPROXY changes no port.
func sysctls(c Config, h host.Host) []iptables.Sysctl {
	if c.Mode == ModeTProxy {
		return nil
	}
	return c.selection().PortClash(h)
}

func capturesInbound(cfg Config) bool { return cfg.selection().CapturesInbound() }

func warnings(cfg Config, h host.Host, dns dnsPlan, families []iptables.Family) []string {
	w := cfg.selection().ExtentWarnings(h, families)
	if cfg.RedirectDNS && !dns.enabled {
		w = append(w, "--redirect-dns has no effect: resolv.conf names no server, and --capture-all-dns is not set")
	}
	return append(w, cfg.selection().WithoutIPv6(families)...)
}
