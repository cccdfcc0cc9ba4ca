package rtnetlink

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// Route is a default route, or the route to an address.
type Route struct {
	Family byte // AF_*
	// To is the address; the zero value for a default route.
	To       netip.Addr
	Type     byte   // RTN_* of linux/rtnetlink.h
	Table    uint32 // RT_TABLE_*
	Protocol byte   // RTPROT_*
	Scope    byte   // RT_SCOPE_*
	TOS      byte
	Priority uint32     // the metric. With 0 the kernel chooses it.
	Link     uint32     // the index of the interface by which packets leave, or 0
	Gateway  netip.Addr // if it leads to one
	Source   netip.Addr // the source of packets that have none yet, if the route says
}

// Routes returns the default routes, and those to single addresses of others, of all tables and
// families, in the kernel's order, and in the same round trip which of the asked IPv6 addresses
// interfaces have.
func Routes(ctx context.Context, ns *namespace.Namespace, asked ...Address) (routes []Route, there []Address, err error) {
	var questions []netlink.Request
	for _, a := range asked {
		questions = append(questions, askAddress(a))
	}
	r := netlink.Request{Kind: unix.RTM_GETROUTE, Header: make([]byte, unix.SizeofRtMsg)}
	routes, err = listAfter(ctx, ns, questions, func(i int, m netlink.Message, refusal error) error {
		if i == 0 {
			// They may be asked again.
			there = nil
		}
		switch {
		case errors.Is(refusal, unix.EADDRNOTAVAIL), errors.Is(refusal, unix.EOPNOTSUPP), errors.Is(refusal, unix.EAFNOSUPPORT):
			// Without IPv6 there are none.
			return nil
		case refusal != nil:
			return refusal
		}
		if a, ok := decoded(m, questions[0], decodeAddress); ok {
			there = append(there, a)
		}
		return nil
	}, r, unix.RTM_NEWROUTE, decodeListed)
	return routes, there, err
}

// RouteTo returns the route that packets to an address take. The error is the one that
// their sender gets, such as ENETUNREACH, if they go nowhere.
func RouteTo(ctx context.Context, ns *namespace.Namespace, to netip.Addr) (Route, error) {
	return Lookup(ctx, ns, Packet{To: to})
}

// Packet is what the kernel looks at to choose a route.
type Packet struct {
	To netip.Addr
	// From is the source; the zero value if it has none yet.
	From netip.Addr
	// In is the index of the interface that it came in by; 0 for one that this machine sends.
	In   uint32
	Mark uint32
}

// Lookup returns the route that a packet takes. The error says why it goes nowhere. For one that
// came in, EXDEV is that of the reverse path filter (fib_validate_source in
// net/ipv4/fib_frontend.c).
func Lookup(ctx context.Context, ns *namespace.Namespace, p Packet) (Route, error) {
	header := make([]byte, unix.SizeofRtMsg)
	header[0], header[1] = FamilyOf(p.To), byte(p.To.BitLen())
	if p.From.IsValid() {
		header[2] = byte(p.From.BitLen())
	}
	binary.NativeEndian.PutUint32(header[8:], unix.RTM_F_LOOKUP_TABLE)
	return ask(ctx, ns, netlink.Request{Kind: unix.RTM_GETROUTE, Header: header, Attributes: func(b *netlink.Builder) {
		b.PutBytes(unix.RTA_DST, p.To.AsSlice())
		if p.From.IsValid() {
			b.PutBytes(unix.RTA_SRC, p.From.AsSlice())
		}
		if p.In != 0 {
			b.PutNativeUint32(unix.RTA_IIF, p.In)
		}
		if p.Mark != 0 {
			b.PutNativeUint32(unix.RTA_MARK, p.Mark)
		}
	}}, decodeRoute)
}

// AddRoute adds a route.
func AddRoute(ctx context.Context, ns *namespace.Namespace, r Route) error {
	return changeRoute(ctx, ns, unix.RTM_NEWROUTE, create, r)
}

// DeleteRoute deletes the first route that is like it. A protocol, a priority and
// a gateway that it does not have may be any.
func DeleteRoute(ctx context.Context, ns *namespace.Namespace, r Route) error {
	return changeRoute(ctx, ns, unix.RTM_DELROUTE, remove, r)
}

func changeRoute(ctx context.Context, ns *namespace.Namespace, kind, flags uint16, r Route) error {
	// struct rtmsg (linux/rtnetlink.h).
	header := make([]byte, unix.SizeofRtMsg)
	header[0], header[3] = r.Family, r.TOS
	header[5], header[6], header[7] = r.Protocol, r.Scope, r.Type
	if r.To.IsValid() {
		header[1] = byte(r.To.BitLen())
	}
	return tell(ctx, ns, netlink.Request{Kind: kind, Flags: flags, Header: header, Attributes: func(b *netlink.Builder) {
		if r.To.IsValid() {
			b.PutBytes(unix.RTA_DST, r.To.AsSlice())
		}
		b.PutNativeUint32(unix.RTA_TABLE, r.Table)
		b.PutNativeUint32(unix.RTA_OIF, r.Link)
		if r.Priority != 0 {
			b.PutNativeUint32(unix.RTA_PRIORITY, r.Priority)
		}
		if r.Gateway.IsValid() {
			b.PutBytes(unix.RTA_GATEWAY, r.Gateway.AsSlice())
		}
	}})
}

func decodeListed(header, attributes []byte) (Route, bool) {
	// A table may hold a million other routes, and one for each address of this machine. What is
	// learnt about a single destination is no route of a table.
	single := (header[1] == 32 && header[0] == unix.AF_INET || header[1] == 128) && header[7] == unix.RTN_UNICAST
	if header[1] != 0 && !single || binary.NativeEndian.Uint32(header[8:])&unix.RTM_F_CLONED != 0 {
		return Route{}, false
	}
	return decodeRoute(header, attributes)
}

func decodeRoute(header, attributes []byte) (Route, bool) {
	r := Route{
		Family: header[0], TOS: header[3], Table: uint32(header[4]),
		Protocol: header[5], Scope: header[6], Type: header[7],
	}
	for kind, value := range netlink.Attributes(attributes) {
		switch kind {
		case unix.RTA_DST:
			r.To, _ = netip.AddrFromSlice(value)
		case unix.RTA_TABLE:
			r.Table = netlink.ReadNativeUint32(value)
		case unix.RTA_PRIORITY:
			r.Priority = netlink.ReadNativeUint32(value)
		case unix.RTA_OIF:
			r.Link = netlink.ReadNativeUint32(value)
		case unix.RTA_GATEWAY:
			r.Gateway, _ = netip.AddrFromSlice(value)
		case unix.RTA_PREFSRC:
			r.Source, _ = netip.AddrFromSlice(value)
		}
	}
	return r, true
}
