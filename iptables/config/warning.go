package config

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/meshtables/meshtables/iptables"
)

// ineffective returns a warning for each value that was given but changes
// nothing, and for each that is likely a mistake. Defaults warn of nothing.
func (r *reading) ineffective() []string {
	var w warnings
	r.warnSelections(&w)
	r.warnOutboundPorts(&w)
	r.warnOwners(&w)
	r.warnIPv6(&w)
	r.warnTProxy(&w)
	r.warnTunnel(&w)
	r.warnDNS(&w)
	r.warnSamePort(&w)
	r.warnAnnotations(&w)
	return w
}

type warnings []string

func (w *warnings) add(format string, args ...any) {
	*w = append(*w, fmt.Sprintf(format, args...))
}

// warnRepeated tells of items that are there more than once in one list.
func (r *reading) warnRepeated(value pflag.Value, all []given) {
	l, ok := value.(interface{ repeated(text string) string })
	if !ok {
		return
	}
	for _, g := range all {
		if again := l.repeated(g.text); again != "" {
			r.warnings.add("%v has %s more than once, which has no effect", g, again)
		}
	}
}

func (r *reading) warnSelections(w *warnings) {
	if g, ok := r.given["excluded-ports"]; ok && !isBlank(g.text) && !r.IncludedPorts.All {
		w.add("%v has no effect beside %v", g, r.given["included-ports"])
	}
	if g, ok := r.given["excluded-groups"]; ok && len(r.ExcludedGroups) > 0 && !r.IncludedGroups.All {
		w.add("%v has no effect beside %v", g, r.given["included-groups"])
	}
	if g, ok := r.given["excluded-source-cidrs"]; ok && len(r.ExcludedSourceCIDRs) > 0 && !r.IncludedPorts.All && len(r.IncludedPorts.Ports) == 0 {
		w.add("%v has no effect: nothing inbound is captured", g)
	}
	if g, ok := r.given["excluded-cidrs"]; ok && len(r.ExcludedCIDRs) > 0 && r.leavesOutbound() {
		w.add("%v has no effect: nothing outbound is captured", g)
	}
}

// leavesOutbound reports whether nothing outbound is captured, but DNS perhaps.
func (r *reading) leavesOutbound() bool {
	return !r.IncludedCIDRs.All && len(r.IncludedCIDRs.CIDRs) == 0 && len(r.IncludedOutboundPorts) == 0
}

func (r *reading) warnOutboundPorts(w *warnings) {
	include, exclude := r.given["included-outbound-ports"], r.given["excluded-outbound-ports"]
	if len(r.IncludedOutboundPorts) > 0 && r.IncludedCIDRs.All {
		w.add("%v has no effect: all outbound ports are captured, because --included-cidrs is *", include)
	}
	if both := overlap(r.IncludedOutboundPorts, r.ExcludedOutboundPorts); both != "" {
		w.add("%v and %v both have %s: excluded ports are not captured", include, exclude, both)
	}
	ofDNS := func(p iptables.PortRange) bool { return p.Contains(dnsPort) }
	if r.leavesOutbound() && len(r.ExcludedOutboundPorts) > 0 && !(r.RedirectDNS && slices.ContainsFunc(r.ExcludedOutboundPorts, ofDNS)) {
		// Those to the pod itself would come in again.
		w.add("%v exempts connections of the proxy only: nothing else outbound is captured", exclude)
	}
}

// dnsPort is where DNS servers listen (RFC 1035, section 4.2).
const dnsPort = 53

// warnOwners is about what is exempt by who sends it. DNS queries can be so too.
func (r *reading) warnOwners(w *warnings) {
	for _, o := range []struct {
		option  string
		isGiven bool
		// ofProxy are the items that are the proxy's.
		ofProxy string
	}{
		{option: "included-groups", isGiven: !r.IncludedGroups.All},
		{option: "excluded-groups", isGiven: r.IncludedGroups.All && len(r.ExcludedGroups) > 0, ofProxy: r.excludedProxyGroups()},
		{option: "excluded-uids", isGiven: len(r.ExcludedUIDs) > 0, ofProxy: r.excludedProxyUsers()},
	} {
		switch g := r.given[o.option]; {
		case !o.isGiven:
		case r.leavesOutbound() && !r.RedirectDNS:
			w.add("%v has no effect: nothing outbound is captured", g)
		case o.ofProxy != "":
			w.add("%v has %s, which has no effect: the proxy's own traffic is left alone anyway", g, o.ofProxy)
		}
	}
}

// excludedProxyGroups returns the excluded groups that are the proxy's.
func (r *reading) excludedProxyGroups() string {
	var own []string
	for _, gid := range r.ExcludedGroups {
		if slices.Contains(r.ProxyGIDs, gid) {
			own = append(own, formatID(gid))
		}
	}
	return strings.Join(own, ",")
}

// excludedProxyUsers returns the items of --excluded-uids that are about users of the
// proxy only.
func (r *reading) excludedProxyUsers() string {
	var own []string
	for _, t := range r.ExcludedUIDs {
		n := uint32(0)
		for _, uid := range r.ProxyUIDs {
			if t.First <= uid && uid <= t.Last {
				n++
			}
		}
		if n == t.Last-t.First+1 {
			own = append(own, t.String())
		}
	}
	return strings.Join(own, ",")
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

func (r *reading) warnIPv6(w *warnings) {
	if r.IPv6 != IPv6Off {
		return
	}
	is6 := func(p netip.Prefix) bool { return p.Addr().Is6() }
	if slices.ContainsFunc(r.IncludedCIDRs.CIDRs, is6) {
		w.add("%v has IPv6 addresses, which have no effect with %v", r.given["included-cidrs"], r.given["ipv6"])
	}
	if slices.ContainsFunc(r.ExcludedCIDRs, is6) {
		w.add("%v has IPv6 addresses, which have no effect with %v", r.given["excluded-cidrs"], r.given["ipv6"])
	}
	if slices.ContainsFunc(r.ExcludedSourceCIDRs, is6) {
		w.add("%v has IPv6 addresses, which have no effect with %v", r.given["excluded-source-cidrs"], r.given["ipv6"])
	}
}

func (r *reading) warnTProxy(w *warnings) {
	if r.Mode == ModeTProxy {
		return
	}
	for _, option := range []string{"tproxy-mark", "tproxy-table"} {
		if g, ok := r.given[option]; ok {
			w.add("%v has no effect: the mode is %s", g, r.Mode)
		}
	}
}

// warnTunnel tells who moves the tunnel port that TPROXY takes what comes in by it,
// as that of the reference does. The default is nobody's choice.
func (r *reading) warnTunnel(w *warnings) {
	if r.Mode != ModeTProxy || r.TunnelPort == Default().TunnelPort {
		return
	}
	has := func(list []iptables.PortRange) bool {
		return slices.ContainsFunc(list, func(p iptables.PortRange) bool { return p.Contains(r.TunnelPort) })
	}
	g := r.given["tunnel-port"]
	switch {
	case r.IncludedPorts.All && !has(r.ExcludedPorts):
		w.add("%v does not exempt what comes in by that port: the mode is %s, where --excluded-ports has to name it", g, r.Mode)
	case has(r.IncludedPorts.Ports):
		w.add("%v does not exempt what comes in by that port: the mode is %s, and %v has it", g, r.Mode, r.given["included-ports"])
	}
}

func (r *reading) warnDNS(w *warnings) {
	if r.RedirectDNS {
		return
	}
	if g, ok := r.given["capture-all-dns"]; ok && r.CaptureAllDNS {
		w.add("%v has no effect without --redirect-dns", g)
	}
	if g, ok := r.given["dns-port"]; ok {
		w.add("%v has no effect without --redirect-dns", g)
	}
}

func (r *reading) warnSamePort(w *warnings) {
	if r.InboundPort != r.OutboundPort {
		return
	}
	// The defaults differ, so at least one of them was given.
	for _, option := range []string{"inbound-port", "outbound-port"} {
		if g, ok := r.given[option]; ok {
			w.add("%v makes inbound and outbound port the same: the proxy cannot tell the directions apart", g)
			return
		}
	}
}

// warnAnnotations finds misspelt keys. Everything below that prefix is about
// capturing, and the API server does not check annotations.
func (r *reading) warnAnnotations(w *warnings) {
	known := make(map[string]bool)
	for _, o := range captureOptions() {
		known[o.Annotation] = true
	}
	for _, key := range slices.Sorted(maps.Keys(r.notes)) {
		if strings.HasPrefix(key, trafficPrefix) && !known[key] {
			g, _ := r.notes.get(key)
			w.add("%v has no effect: there is no such annotation", g)
		}
	}
}
