package probe

import (
	"fmt"
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
)

// connection is one to try: user uid connects to an address, and it has to arrive
// at port.
type connection struct {
	name string
	to   netip.AddrPort
	uid  uint32
	port uint16
}

// ordinaryUID is the user nobody, who is neither the proxy nor root.
const ordinaryUID = 65534

// connections picks those that the rules capture.
func connections(want Want) []connection {
	var all []connection
	for _, f := range iptables.Families() {
		if want.Rules.Table(f, iptables.Nat) == nil {
			continue
		}
		if to, ok := capturedDestination(want, f); ok {
			all = append(all, connection{fmt.Sprintf("outbound %s", f), to, ordinaryUID, want.OutboundPort})
		}
		if own, ok := ownAddress(want, f); ok {
			all = append(all, connection{fmt.Sprintf("inbound %s", f), own, want.ProxyUID, want.InboundPort})
		}
	}
	return all
}

// capturedDestination returns an address and port that the rules send to the
// proxy when an ordinary application connects to it. Addresses and ports come
// from the rules, for these may capture very little, and from documentation
// (RFC 5737, RFC 3849): nothing that answers by chance has those.
func capturedDestination(want Want, f iptables.Family) (netip.AddrPort, bool) {
	addresses := []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	if f == iptables.IPv6 {
		addresses[0] = netip.MustParseAddr("2001:db8::1")
	}
	ports := []uint16{80, 8080, 1024}
	for _, c := range want.Rules.Table(f, iptables.Nat).Chains {
		for _, r := range c.Rules {
			if d := r.Destination; d != (iptables.Address{}) && !d.Not {
				addresses = append(addresses, d.Prefix.Addr(), d.Prefix.Addr().Next())
			}
			for _, m := range r.Matches {
				if m, ok := m.(iptables.Ports); ok && m.Destination.Set {
					ports = append(ports, m.Destination.Range.First)
				}
			}
		}
	}
	for _, a := range addresses {
		for _, port := range ports {
			if !a.IsValid() || a.IsLoopback() || isOwn(want, a) {
				continue
			}
			to := netip.AddrPortFrom(a, port)
			from := netip.AddrPortFrom(f.Unspecified(), ephemeral)
			if arrivesAt(want, from, to, "eth0", ordinaryUID) == want.OutboundPort {
				return to, true
			}
		}
	}
	return netip.AddrPort{}, false
}

func isOwn(want Want, a netip.Addr) bool {
	for _, p := range want.Addresses {
		if p.Addr() == a {
			return true
		}
	}
	return false
}

// ownAddress returns an address of the namespace at which the proxy, connecting
// to it, comes in again. Packets of this machine to itself never enter nat
// PREROUTING, but the way from there to the inbound port is the same.
func ownAddress(want Want, f iptables.Family) (netip.AddrPort, bool) {
	for _, p := range want.Addresses {
		a := p.Addr()
		if iptables.FamilyOf(a) != f || !a.IsGlobalUnicast() {
			continue
		}
		// Who connects to an address of the machine itself connects from it.
		to, from := netip.AddrPortFrom(a, 80), netip.AddrPortFrom(a, ephemeral)
		if arrivesAt(want, from, to, "lo", want.ProxyUID) == want.InboundPort {
			return to, true
		}
	}
	return netip.AddrPort{}, false
}

// ephemeral is a port as the kernel gives it to who connects.
const ephemeral = 40000

// arrivesAt returns the port to which the rules redirect a new connection, or 0.
func arrivesAt(want Want, from, to netip.AddrPort, out string, uid uint32) uint16 {
	result, err := explain.Walk(&want.Rules, explain.Packet{
		Hook: iptables.Output, Protocol: iptables.TCP, State: iptables.StateNew,
		Source: from.Addr(), Destination: to.Addr(),
		SourcePort: from.Port(), DestinationPort: to.Port(), Out: out,
		Owner: &explain.Owner{UID: uid, GID: ordinaryUID},
	})
	if err != nil || result.Verdict != explain.Redirected {
		return 0
	}
	return result.Port
}
