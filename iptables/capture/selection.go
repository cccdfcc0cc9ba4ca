package capture

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/config"
)

// Selection is what options that several policies have select. It warns of values that
// change nothing, and of those that exempt more or include less than anybody is likely to
// mean.
type Selection struct {
	IncludedPorts                                config.PortSelection
	ExcludedPorts                                []iptables.PortRange
	IncludedOutboundPorts, ExcludedOutboundPorts []iptables.PortRange
	IncludedCIDRs                                config.CIDRSelection
	ExcludedCIDRs, ExcludedSourceCIDRs           []netip.Prefix
	ExcludedInterfaces, VirtualInterfaces        []string
	RedirectDNS, RedirectVirtualDNS              bool
	IPv6                                         IPv6
}

// CapturesInbound reports whether any inbound port is captured.
func (s Selection) CapturesInbound() bool {
	return s.IncludedPorts.All || len(s.IncludedPorts.Ports) > 0
}

// LeavesOutbound reports whether nothing outbound is captured, except perhaps DNS.
func (s Selection) LeavesOutbound() bool {
	return !s.IncludedCIDRs.All && len(s.IncludedCIDRs.CIDRs) == 0 && len(s.IncludedOutboundPorts) == 0
}

// SendsCaptured reports whether connections of the pod itself are captured. What comes in
// from virtual machines is captured whatever is exempt for the pod.
func (s Selection) SendsCaptured() bool { return !s.LeavesOutbound() && len(s.VirtualInterfaces) == 0 }

// WarnPorts is about excluded ports beside a list of included ones.
func (s Selection) WarnPorts(r *config.Reading) {
	if g := r.Given("excluded-ports"); !g.IsBlank() && !s.IncludedPorts.All {
		r.Warn("%v has no effect with %v", g, r.Given("included-ports"))
	}
}

// WarnCIDRs is about excluded addresses where nothing is captured.
func (s Selection) WarnCIDRs(r *config.Reading) {
	if g := r.Given("excluded-source-cidrs"); g.IsExplicit() && len(s.ExcludedSourceCIDRs) > 0 && !s.CapturesInbound() {
		r.Warn("%v has no effect: nothing inbound is captured", g)
	}
	if g := r.Given("excluded-cidrs"); g.IsExplicit() && len(s.ExcludedCIDRs) > 0 && s.LeavesOutbound() {
		r.Warn("%v has no effect: nothing outbound is captured", g)
	}
}

// WarnOutboundPorts is about ports that are captured anyway, or included and excluded.
func (s Selection) WarnOutboundPorts(r *config.Reading) {
	include, exclude := r.Given("included-outbound-ports"), r.Given("excluded-outbound-ports")
	if len(s.IncludedOutboundPorts) > 0 && s.IncludedCIDRs.All {
		r.Warn("%v has no effect: all outbound ports are captured, because --included-cidrs is *", include)
	}
	if both := overlap(s.IncludedOutboundPorts, s.ExcludedOutboundPorts); both != "" {
		r.Warn("%v and %v both have %s: excluded ports are not captured", include, exclude, both)
	}
}

// overlap returns the ports that are in both lists.
func overlap(a, b []iptables.PortRange) string {
	var both []string
	for _, x := range a {
		for _, y := range b {
			r := iptables.PortRange{First: max(x.First, y.First), Last: min(x.Last, y.Last)}
			if r.First <= r.Last {
				both = append(both, r.String())
			}
		}
	}
	return strings.Join(both, ",")
}

// WarnIPv6 is about IPv6 addresses where IPv6 is not captured.
func (s Selection) WarnIPv6(r *config.Reading) {
	if s.IPv6 != IPv6Off {
		return
	}
	is6 := func(p netip.Prefix) bool { return p.Addr().Is6() }
	if slices.ContainsFunc(s.IncludedCIDRs.CIDRs, is6) {
		r.Warn("%v has IPv6 addresses, which have no effect with %v", r.Given("included-cidrs"), r.Given("ipv6"))
	}
	if slices.ContainsFunc(s.ExcludedCIDRs, is6) {
		r.Warn("%v has IPv6 addresses, which have no effect with %v", r.Given("excluded-cidrs"), r.Given("ipv6"))
	}
	if slices.ContainsFunc(s.ExcludedSourceCIDRs, is6) {
		r.Warn("%v has IPv6 addresses, which have no effect with %v", r.Given("excluded-source-cidrs"), r.Given("ipv6"))
	}
}

// WithoutIPv6 warns of IPv6 addresses where the namespace has none that makes IPv6 captured.
func (s Selection) WithoutIPv6(families []iptables.Family) []string {
	if slices.Contains(families, iptables.IPv6) || s.IPv6 != IPv6Auto {
		return nil
	}
	var w []string
	for _, p := range slices.Concat(s.IncludedCIDRs.CIDRs, s.ExcludedCIDRs, s.ExcludedSourceCIDRs) {
		if p.Addr().Is6() {
			w = append(w, fmt.Sprintf("%s has no effect: the namespace has no global IPv6 address, so IPv6 is not captured (--ipv6=on captures it anyway)", p))
		}
	}
	return w
}
