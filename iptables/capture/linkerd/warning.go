package linkerd

import (
	"slices"

	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/config"
)

// selection returns the lists that other policies have too. Everything outbound is selected.
func (c Config) selection() capture.Selection {
	return capture.Selection{
		IncludedPorts: c.IncludedPorts, ExcludedPorts: c.ExcludedPorts, ExcludedOutboundPorts: c.ExcludedOutboundPorts,
		IncludedCIDRs: config.CIDRSelection{All: true}, ExcludedCIDRs: c.ExcludedCIDRs, ExcludedSourceCIDRs: c.ExcludedSourceCIDRs, IPv6: c.IPv6,
	}
}

// warn warns of each given value that changes nothing, and of each that is likely a
// mistake. Defaults give no warning.
func (r *reading) warn() {
	s := r.selection()
	r.warnPorts()
	s.WarnCIDRs(r.Reading)
	s.WarnEveryPort(r.Reading)
	s.WarnEveryClient(r.Reading)
	s.WarnEveryDestination(r.Reading)
	capture.WarnNoLength(r.Reading, "excluded-cidrs", "excluded-source-cidrs")
	s.WarnIPv6(r.Reading)
	r.warnRoot()
	capture.WarnSamePort(r.Reading, r.InboundPort, r.OutboundPort)
}

// warnPorts is about excluded ports where nothing is captured.
func (r *reading) warnPorts() {
	if g := r.Given("excluded-ports"); g.IsExplicit() && len(r.ExcludedPorts) > 0 && !r.selection().CapturesInbound() {
		r.Warn("%v has no effect: nothing inbound is captured", g)
	}
}

// warnRoot is about the proxy running as root: then whatever else does is not captured.
func (r *reading) warnRoot() {
	for _, ids := range []struct {
		option, who string
		ids         []uint32
	}{{"proxy-uid", "user", r.ProxyUIDs}, {"proxy-gid", "group", r.ProxyGIDs}} {
		if g := r.Given(ids.option); g.IsExplicit() && slices.Contains(ids.ids, 0) {
			r.Warn("%v names the %s root: all that root sends goes past the proxy\n"+
				"hint: run the proxy as a user or group of its own, such as 2102", g, ids.who)
		}
	}
}
