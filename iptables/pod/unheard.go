package pod

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// Unheard is about traffic of virtual machines that the proxy does not get, because it listens at
// other addresses only: REDIRECT sends what comes in by an interface to an address of that one.
type Unheard struct {
	Text string
	// Hint says how to mend it; it may be empty.
	Hint string
}

// FindUnheard returns what of the traffic of virtual machines the proxy does not get although it
// listens at the right ports. Where no socket has such a port, the proxy may be starting.
func FindUnheard(ctx context.Context, ns *namespace.Namespace, p *Plan, rules *iptables.Ruleset) ([]Unheard, error) {
	from := p.Wanted.TakesFrom(p.Host)
	if len(from) == 0 {
		return nil, nil
	}
	there, err := host.AddressesByName(ctx, ns)
	if err != nil {
		return nil, err
	}
	l, err := host.ReadListeners(ns)
	if err != nil {
		return nil, err
	}
	var all []Unheard
	for _, name := range slices.Sorted(maps.Keys(there)) {
		if !capture.IsInterfaceOf(from, name) {
			continue
		}
		for _, f := range iptables.Families() {
			if to := host.RedirectedTo(there[name], f); to.IsValid() {
				all = append(all, unheardAt(rules, l, name, to, p.Wanted)...)
			}
		}
	}
	return all, nil
}

// unheardAt is about what comes in by an interface and is sent to an address.
func unheardAt(rules *iptables.Ruleset, l host.Listeners, by string, to netip.Addr, wanted capture.Wanted) []Unheard {
	protocols := make(map[uint16][]string)
	for p := range fromMachine(rules, by, iptables.FamilyOf(to)) {
		r := explain.Walk(rules, p)
		at, name := l.At(p.Protocol, r.Port), string(p.Protocol)
		if r.Verdict == explain.Redirected && len(at) > 0 && !l.Has(p.Protocol, netip.AddrPortFrom(to, r.Port)) &&
			!slices.Contains(protocols[r.Port], name) {
			protocols[r.Port] = append(protocols[r.Port], name)
		}
	}
	var all []Unheard
	for _, port := range slices.Sorted(maps.Keys(protocols)) {
		all = append(all, Unheard{
			Text: fmt.Sprintf("what %s sends by %s arrives at %s, where the proxy does not listen: it gets no answer",
				by, strings.Join(protocols[port], " and "), netip.AddrPortFrom(to, port)),
			Hint: wanted.ListenEverywhere(port),
		})
	}
	return all
}

// fromMachine yields connections to other machines that come in by an interface: any, and DNS
// queries to any server and to those that rules name.
func fromMachine(rules *iptables.Ruleset, by string, f iptables.Family) func(yield func(iptables.Packet) bool) {
	// RFC 5737, RFC 3849.
	from, elsewhere := netip.MustParseAddr("192.0.2.77"), netip.MustParseAddr("203.0.113.77")
	if f == iptables.IPv6 {
		from, elsewhere = netip.MustParseAddr("2001:db8::77"), netip.MustParseAddr("2001:db8:7::77")
	}
	servers := []netip.Addr{elsewhere}
	for _, named := range rules.Named(f, iptables.DestinationAddress) {
		first, _ := named.Addresses()
		servers = append(servers, first)
	}
	p := iptables.Packet{
		Hook: iptables.Prerouting, State: iptables.StateNew, In: by,
		Source: from, SourcePort: 40000, SourceType: "UNICAST", DestinationType: "UNICAST",
	}
	return func(yield func(iptables.Packet) bool) {
		for _, to := range servers {
			p.Destination = to
			for _, kind := range []struct {
				protocol iptables.Protocol
				port     uint16
			}{{iptables.TCP, 8080}, {iptables.TCP, iptables.DNSPort}, {iptables.UDP, iptables.DNSPort}} {
				if p.Protocol, p.DestinationPort = kind.protocol, kind.port; !yield(p) {
					return
				}
			}
		}
	}
}
