package capture

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/host"
)

// Values that are valid, but exempt more or include less than anybody is likely to mean.

// nothingOutbound is what is left of outbound traffic if no connection is captured. DNS has
// rules of its own.
func (s Selection) nothingOutbound() string {
	if s.RedirectDNS {
		return "nothing outbound but DNS"
	}
	return "nothing outbound"
}

// Covers reports whether a set leaves out none of a whole.
func Covers(s iptables.Set, whole iptables.Interval) bool {
	return slices.ContainsFunc(s.Elements, func(e iptables.Interval) bool {
		return e.First <= whole.First && whole.Last <= e.Last
	})
}

// addresses returns the set of a family's prefixes.
func addresses(f iptables.Family, prefixes []netip.Prefix) iptables.Set {
	return iptables.NewSet(iptables.DestinationAddress, false, Prefixes(f, prefixes))
}

// whole returns the names of the families of which prefixes leave out no address, or "".
// IPv6 does not count where it is not captured.
func (s Selection) whole(prefixes []netip.Prefix) string {
	var names []string
	for _, f := range iptables.Families() {
		isCaptured := f == iptables.IPv4 || s.IPv6 != IPv6Off
		if isCaptured && mayCoverAll(f, prefixes) && Covers(addresses(f, prefixes), iptables.PrefixInterval(EveryAddress(f))) {
			names = append(names, f.String())
		}
	}
	return strings.Join(names, " and ")
}

// mayCoverAll returns false if prefixes are too small to have every address of a family: lists
// can have thousands of prefixes, and sorting them takes time.
func mayCoverAll(f iptables.Family, prefixes []netip.Prefix) bool {
	share := 0.0
	for _, p := range prefixes {
		if iptables.FamilyOf(p.Addr()) == f {
			share += math.Ldexp(1, -p.Bits())
		}
	}
	// Small ones get lost beside the sum of the others.
	return share > 0.99
}

// EveryPort returns the range of all ports.
func EveryPort() iptables.PortRange { return iptables.PortRange{First: 1, Last: math.MaxUint16} }

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
	ports := iptables.NewSet(iptables.DestinationPort, false, Intervals(list, iptables.PortInterval))
	return Covers(ports, iptables.PortInterval(EveryPort()))
}

// WarnEveryPort is about excluded ports that are all.
func (s Selection) WarnEveryPort(r *config.Reading) {
	if (s.SendsCaptured() || s.RedirectDNS) && hasEveryPort(s.ExcludedOutboundPorts) {
		r.Warn("%v has every port: nothing outbound is captured", r.Given("excluded-outbound-ports"))
	}
	if s.IncludedPorts.All && hasEveryPort(s.ExcludedPorts) {
		r.Warn("%v has every port: nothing inbound is captured", r.Given("excluded-ports"))
	}
}

// WarnEveryDestination is about excluded destinations that are all, or all included ones.
func (s Selection) WarnEveryDestination(r *config.Reading) {
	excluded, included := r.Given("excluded-cidrs"), s.IncludedCIDRs.CIDRs
	if names := s.whole(s.ExcludedCIDRs); names != "" {
		r.Warn("%v has every address of %s: %s in %[2]s is captured", excluded, names, s.nothingOutbound())
		return
	}
	if len(s.IncludedOutboundPorts) == 0 && len(included) > 0 && leavesNone(included, s.ExcludedCIDRs) {
		r.Warn("%v has all of %v: %s is captured", excluded, r.Given("included-cidrs"), s.nothingOutbound())
	}
}

// leavesNone reports whether no included address is left after the excluded ones.
func leavesNone(included, excluded []netip.Prefix) bool {
	for _, f := range iptables.Families() {
		set := addresses(f, excluded)
		for _, p := range Prefixes(f, included) {
			if !Covers(set, p) {
				return false
			}
		}
	}
	return true
}

// WarnEveryClient is about excluded clients that are all.
func (s Selection) WarnEveryClient(r *config.Reading) {
	if names := s.whole(s.ExcludedSourceCIDRs); names != "" && s.CapturesInbound() {
		r.Warn("%v has every address of %s: nothing inbound in %[2]s is captured", r.Given("excluded-source-cidrs"), names)
	}
}

// WarnBesideEverything is about destinations in a list that has all of them.
func (s Selection) WarnBesideEverything(r *config.Reading) {
	for _, f := range iptables.Families() {
		every := EveryAddress(f)
		others := slices.DeleteFunc(slices.Clone(s.IncludedCIDRs.CIDRs), func(p netip.Prefix) bool {
			return p == every || iptables.FamilyOf(p.Addr()) != f
		})
		if len(others) > 0 && slices.Contains(s.IncludedCIDRs.CIDRs, every) {
			r.Warn("%v has %s, so %s in it has no effect", r.Given("included-cidrs"), every, strings.Join(Texts(others, netip.Prefix.String), ","))
		}
	}
}

// WarnNoLength warns of addresses in options that look like networks without their length:
// they are one address, which no machine is likely to have.
func WarnNoLength(r *config.Reading, options ...string) {
	for _, option := range options {
		g := r.Given(option)
		for word := range strings.SplitSeq(g.Text, ",") {
			if strings.Contains(word, "/") {
				continue
			}
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
	if netip.PrefixFrom(a, most).Masked().Addr() != a {
		return 0, false
	}
	for bits = 0; bits <= most; bits += step {
		if netip.PrefixFrom(a, bits).Masked().Addr() == a {
			return bits, true
		}
	}
	return 0, false
}

// ExtentWarnings is about what the namespace makes of valid values: they exempt all that
// there is, or one family. It returns a sentence each, some with a hint.
func (s Selection) ExtentWarnings(h host.Host, families []iptables.Family) []string {
	var w []string
	up := host.NamesUp(h.Interfaces)
	if len(up) > 0 && !slices.ContainsFunc(up, func(name string) bool { return !IsInterfaceOf(s.ExcludedInterfaces, name) }) {
		w = append(w, fmt.Sprintf("--excluded-interfaces has every interface that is up (%s): nothing from or to other machines is captured",
			strings.Join(up, ", ")))
	}
	w = append(w, s.uplinkWarnings(h)...)
	for _, f := range families {
		if other, ok := s.onlyOther(f); ok {
			w = append(w, fmt.Sprintf("--included-cidrs has %s and nothing of %s: nothing outbound in %[2]s is captured\n"+
				"hint: * has every address of both families", EveryAddress(other), f))
		}
	}
	return w
}

// onlyOther reports whether the list of destinations has every address of the other family,
// and none of this one. Whoever lists some networks knows that the rest is left alone;
// whoever lists all means all.
func (s Selection) onlyOther(f iptables.Family) (other iptables.Family, ok bool) {
	other = iptables.IPv4
	if f == iptables.IPv4 {
		other = iptables.IPv6
	}
	included := s.IncludedCIDRs.CIDRs
	return other, slices.Contains(included, EveryAddress(other)) && len(Prefixes(f, included)) == 0 && len(s.IncludedOutboundPorts) == 0
}

// WarnSamePort is about a proxy that accepts both directions at one port.
func WarnSamePort(r *config.Reading, inbound, outbound uint16) {
	if inbound != outbound {
		return
	}
	// The defaults differ, so at least one of them was given.
	for _, option := range []string{"inbound-port", "outbound-port"} {
		if g := r.Given(option); g.IsExplicit() {
			r.Warn("%v makes inbound and outbound port the same: the proxy cannot tell the directions apart", g)
			return
		}
	}
}
