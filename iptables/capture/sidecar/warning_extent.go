package sidecar

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/host"
)

// Values that are valid, but exempt more or include less than anybody is likely to mean.

// warnExtent warns of values that exempt everything, or somebody that is not the proxy.
func (r *reading) warnExtent() {
	r.warnRoot()
	if r.sendsCaptured() {
		r.warnEverybody()
		r.warnEveryDestination()
	}
	r.warnEveryPort()
	r.warnEveryClient()
	r.warnBesideEverything()
	r.warnNoLength()
}

// sendsCaptured reports whether connections of the pod itself are captured. What comes in
// from virtual machines is captured whatever is exempt for the pod.
func (r *reading) sendsCaptured() bool { return !r.leavesOutbound() && len(r.VirtualInterfaces) == 0 }

// nothingOutbound is what is left of outbound traffic if no connection is captured. DNS has
// rules of its own.
func (r *reading) nothingOutbound() string {
	if r.RedirectDNS {
		return "nothing outbound but DNS"
	}
	return "nothing outbound"
}

// warnRoot is about the proxy running as root: then whatever else does is not captured.
// Many images run as root, and in OpenShift every process has the group root.
func (r *reading) warnRoot() {
	user := r.Given("proxy-uid")
	if user.IsBlank() {
		user, _ = r.Variable(proxyUserVariable)
	}
	for _, ids := range []struct {
		given config.Given
		who   string
		ids   []uint32
	}{{user, "user", r.ProxyUIDs}, {r.Given("proxy-gid"), "group", r.ProxyGIDs}} {
		if !ids.given.IsBlank() && slices.Contains(ids.ids, 0) {
			r.Warn("%v names the %s root: all that root sends goes past the proxy\n"+
				"hint: run the proxy as a user or group of its own, such as %d", ids.given, ids.who, fallbackID)
		}
	}
}

// covers reports whether a set leaves out none of a whole.
func covers(s iptables.Set, whole iptables.Interval) bool {
	return slices.ContainsFunc(s.Elements, func(e iptables.Interval) bool {
		return e.First <= whole.First && whole.Last <= e.Last
	})
}

// addresses returns the set of a family's prefixes.
func addresses(f iptables.Family, prefixes []netip.Prefix) iptables.Set {
	return iptables.NewSet(iptables.DestinationAddress, false, capture.Prefixes(f, prefixes))
}

// whole returns the names of the families of which prefixes leave out no address, or "".
// IPv6 does not count where it is not captured.
func (r *reading) whole(prefixes []netip.Prefix) string {
	var names []string
	for _, f := range iptables.Families() {
		isCaptured := f == iptables.IPv4 || r.IPv6 != IPv6Off
		if isCaptured && covers(addresses(f, prefixes), iptables.PrefixInterval(everyAddress(f))) {
			names = append(names, f.String())
		}
	}
	return strings.Join(names, " and ")
}

func (r *reading) warnEverybody() {
	var users []iptables.Interval
	for _, t := range r.ExcludedUIDs {
		if t.Protocol != iptables.UDP && (t.Ports == iptables.PortRange{} || t.Ports == everyPort()) {
			users = append(users, userInterval(t))
		}
	}
	if covers(iptables.NewSet(iptables.OwnerUID, false, users), iptables.IDInterval(0, math.MaxUint32-1)) {
		r.Warn("%v has every user: no outbound connection is captured", r.Given("excluded-uids"))
	}
}

func everyPort() iptables.PortRange { return iptables.PortRange{First: 1, Last: math.MaxUint16} }

// hasEveryPort reports whether a list leaves out no port.
func hasEveryPort(list []iptables.PortRange) bool {
	n := 0
	for _, p := range list {
		n += int(p.Last-p.First) + 1
	}
	if n < math.MaxUint16 {
		// Lists can have thousands of ports, and sorting them takes time.
		return false
	}
	ports := iptables.NewSet(iptables.DestinationPort, false, capture.Intervals(list, iptables.PortInterval))
	return covers(ports, iptables.PortInterval(everyPort()))
}

func (r *reading) warnEveryPort() {
	if (r.sendsCaptured() || r.RedirectDNS) && hasEveryPort(r.ExcludedOutboundPorts) {
		r.Warn("%v has every port: nothing outbound is captured", r.Given("excluded-outbound-ports"))
	}
	if r.IncludedPorts.All && hasEveryPort(r.ExcludedPorts) {
		r.Warn("%v has every port: nothing inbound is captured", r.Given("excluded-ports"))
	}
}

func (r *reading) warnEveryDestination() {
	excluded, included := r.Given("excluded-cidrs"), r.IncludedCIDRs.CIDRs
	if names := r.whole(r.ExcludedCIDRs); names != "" {
		r.Warn("%v has every address of %s: %s in %[2]s is captured", excluded, names, r.nothingOutbound())
		return
	}
	if len(r.IncludedOutboundPorts) == 0 && len(included) > 0 && leavesNone(included, r.ExcludedCIDRs) {
		r.Warn("%v has all of %v: %s is captured", excluded, r.Given("included-cidrs"), r.nothingOutbound())
	}
}

// leavesNone reports whether no included address is left after the excluded ones.
func leavesNone(included, excluded []netip.Prefix) bool {
	for _, f := range iptables.Families() {
		set := addresses(f, excluded)
		for _, p := range capture.Prefixes(f, included) {
			if !covers(set, p) {
				return false
			}
		}
	}
	return true
}

func (r *reading) warnEveryClient() {
	if names := r.whole(r.ExcludedSourceCIDRs); names != "" && capturesInbound(*r.Config) {
		r.Warn("%v has every address of %s: nothing inbound in %[2]s is captured", r.Given("excluded-source-cidrs"), names)
	}
}

// warnBesideEverything is about destinations in a list that has all of them.
func (r *reading) warnBesideEverything() {
	for _, f := range iptables.Families() {
		every := everyAddress(f)
		others := slices.DeleteFunc(slices.Clone(r.IncludedCIDRs.CIDRs), func(p netip.Prefix) bool {
			return p == every || iptables.FamilyOf(p.Addr()) != f
		})
		if len(others) > 0 && slices.Contains(r.IncludedCIDRs.CIDRs, every) {
			r.Warn("%v has %s, so %s in it has no effect", r.Given("included-cidrs"), every, strings.Join(texts(others, netip.Prefix.String), ","))
		}
	}
}

// warnNoLength warns of addresses that look like networks without their length: they are
// one address, which no machine is likely to have.
func (r *reading) warnNoLength() {
	for _, option := range []string{"included-cidrs", "excluded-cidrs", "excluded-source-cidrs", "loopback-cidr"} {
		g := r.Given(option)
		for word := range strings.SplitSeq(g.Text, ",") {
			a, err := netip.ParseAddr(strings.TrimSpace(word))
			if err != nil {
				continue
			}
			if bits, ok := networkLength(a); ok {
				r.Warn("%v has %s, which is one address\nhint: a network has a length, such as %[2]s/%d", g, a, bits)
			}
		}
	}
}

// networkLength returns the length of the shortest usual network that an address begins: of
// whole bytes in IPv4, of whole groups in IPv6. It is not ok for an address that looks like
// that of a machine: one of IPv4 that does not end in 0, and one of IPv6 whose interface
// identifier is not 0 (RFC 4291, section 2.5.1).
func networkLength(a netip.Addr) (bits int, ok bool) {
	step, most := 8, 24
	if a.Is6() {
		step, most = 16, 64
	}
	for bits = 0; bits <= most; bits += step {
		if netip.PrefixFrom(a, bits).Masked().Addr() == a {
			return bits, true
		}
	}
	return 0, false
}

// extentWarnings is about what the namespace makes of valid values: they exempt all that
// there is, or one family.
func extentWarnings(cfg Config, h host.Host, families []iptables.Family) []string {
	var w []string
	if len(h.Interfaces) > 0 && !slices.ContainsFunc(h.Interfaces, func(name string) bool { return !excludesInterface(cfg, name) }) {
		w = append(w, fmt.Sprintf("--excluded-interfaces has every interface that is up (%s): nothing from or to other machines is captured",
			strings.Join(h.Interfaces, ", ")))
	}
	for _, f := range families {
		if other, ok := onlyOther(cfg, f); ok {
			w = append(w, fmt.Sprintf("--included-cidrs has %s and nothing of %s: nothing outbound in %[2]s is captured\n"+
				"hint: * has every address of both families", everyAddress(other), f))
		}
	}
	return w
}

func excludesInterface(cfg Config, name string) bool {
	return slices.ContainsFunc(cfg.ExcludedInterfaces, func(excluded string) bool {
		return iptables.InterfaceInterval(excluded).Contains(iptables.InterfaceInterval(name).First)
	})
}

// onlyOther reports whether the list of destinations has every address of the other family,
// and none of this one. Whoever lists some networks knows that the rest is left alone;
// whoever lists all means all.
func onlyOther(cfg Config, f iptables.Family) (other iptables.Family, ok bool) {
	other = iptables.IPv4
	if f == iptables.IPv4 {
		other = iptables.IPv6
	}
	included := cfg.IncludedCIDRs.CIDRs
	return other, slices.Contains(included, everyAddress(other)) && len(capture.Prefixes(f, included)) == 0 && len(cfg.IncludedOutboundPorts) == 0
}
