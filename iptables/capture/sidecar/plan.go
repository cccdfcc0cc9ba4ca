// Package sidecar is the policy of Istio's sidecars. It makes rules from options, and
// reads options back from rules.
//
// [Config.Plan] is a pure function. Each rule carries the option that it comes from. A
// comment in the code gives the reason for each decision. In REDIRECT mode, without
// interface options and --comments, the rules are the reference's (istio-iptables) to
// the letter. Elsewhere they do the same to every packet.
package sidecar

import (
	"fmt"
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
			Tables:   newPlanner(c, families, dns).tables(),
			Doubled:  doubled,
		},
		Routing:  planRouting(c, families),
		Warnings: warnings(c, h, dns, families),
	}
}

func capturedFamilies(c Config, h host.Host) []iptables.Family {
	if capturesIPv6(c, h) {
		return []iptables.Family{iptables.IPv4, iptables.IPv6}
	}
	return []iptables.Family{iptables.IPv4}
}

// capturesIPv6 reports whether to write rules for IPv6. Auto does if any interface has
// an address that another machine could use: without rules it would be a way around the
// proxy. Link-local addresses do not count, because every interface has one as soon as
// the kernel knows IPv6.
func capturesIPv6(cfg Config, h host.Host) bool {
	switch cfg.IPv6 {
	case IPv6On:
		return true
	case IPv6Off:
		return false
	}
	return slices.ContainsFunc(h.Addresses, func(p netip.Prefix) bool {
		a := p.Addr()
		return a.Is6() && Ownership().IsReachable(a)
	})
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

func capturesInbound(cfg Config) bool {
	return cfg.IncludedPorts.All || len(cfg.IncludedPorts.Ports) > 0
}

func warnings(cfg Config, h host.Host, dns dnsPlan, families []iptables.Family) []string {
	w := extentWarnings(cfg, h, families)
	if cfg.RedirectDNS && !dns.enabled {
		w = append(w, "--redirect-dns has no effect: resolv.conf names no server, and --capture-all-dns is not set")
	}
	if !slices.Contains(families, iptables.IPv6) && cfg.IPv6 == IPv6Auto {
		for _, p := range slices.Concat(cfg.IncludedCIDRs.CIDRs, cfg.ExcludedCIDRs, cfg.ExcludedSourceCIDRs) {
			if p.Addr().Is6() {
				w = append(w, fmt.Sprintf("%s has no effect: the namespace has no global IPv6 address, so IPv6 is not captured (--ipv6=on captures it anyway)", p))
			}
		}
	}
	return w
}
