package rtnetlink

import (
	"context"
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/internal/socket"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// Address is an address of an interface.
type Address struct {
	Link uint32 // the interface's index
	// Prefix is the address, with the prefix length of its network. If the address has a
	// peer, that has the network.
	Prefix netip.Prefix
	Flags  uint32 // IFA_F_* of linux/if_addr.h
}

// Addresses returns the addresses of all interfaces, of both families or of AF_INET or
// AF_INET6, in the kernel's order.
func Addresses(ctx context.Context, ns *namespace.Namespace, family byte) ([]Address, error) {
	r := netlink.Request{Kind: unix.RTM_GETADDR, Header: addressHeader(family, 0, 0, 0)}
	return list(ctx, ns, r, unix.RTM_NEWADDR, decodeAddress)
}

// AddAddress gives an interface an address. The flags have at most eight bits.
func AddAddress(ctx context.Context, ns *namespace.Namespace, a Address) error {
	return changeAddress(ctx, ns, unix.RTM_NEWADDR, create, a)
}

// DeleteAddress undoes AddAddress.
func DeleteAddress(ctx context.Context, ns *namespace.Namespace, a Address) error {
	return changeAddress(ctx, ns, unix.RTM_DELADDR, remove, a)
}

func changeAddress(ctx context.Context, ns *namespace.Namespace, kind, flags uint16, a Address) error {
	address, bits := a.Prefix.Addr(), byte(a.Prefix.Bits())
	header := addressHeader(FamilyOf(address), bits, byte(a.Flags), a.Link)
	return tell(ctx, ns, netlink.Request{Kind: kind, Flags: flags, Header: header, Attributes: func(b *netlink.Builder) {
		b.PutBytes(unix.IFA_LOCAL, address.AsSlice())
		b.PutBytes(unix.IFA_ADDRESS, address.AsSlice())
	}})
}

// askAddress asks for an IPv6 address of an interface (inet6_rtm_getaddr in
// net/ipv6/addrconf.c); the kernel knows no such question about IPv4.
func askAddress(a Address) netlink.Request {
	address := a.Prefix.Addr()
	return netlink.Request{Kind: unix.RTM_GETADDR, Header: addressHeader(FamilyOf(address), 0, 0, a.Link), Attributes: func(b *netlink.Builder) {
		b.PutBytes(unix.IFA_ADDRESS, address.AsSlice())
	}}
}

// addressHeader returns struct ifaddrmsg (linux/if_addr.h).
func addressHeader(family, bits, flags byte, link uint32) []byte {
	header := make([]byte, unix.SizeofIfAddrmsg)
	header[0], header[1], header[2] = family, bits, flags
	binary.NativeEndian.PutUint32(header[4:], link)
	return header
}

// FamilyOf returns the family of an address: AF_INET or AF_INET6.
func FamilyOf(a netip.Addr) byte { return byte(socket.Domain(a)) }

func decodeAddress(header, attributes []byte) (a Address, ok bool) {
	a.Link, a.Flags = binary.NativeEndian.Uint32(header[4:]), uint32(header[2])
	var local, address netip.Addr
	for kind, value := range netlink.Attributes(attributes) {
		switch kind {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(value)
		case unix.IFA_ADDRESS:
			address, _ = netip.AddrFromSlice(value)
		case unix.IFA_FLAGS:
			a.Flags = netlink.ReadNativeUint32(value)
		}
	}
	// IFA_ADDRESS is the peer's if there is one. IPv6 sends IFA_LOCAL only then
	// (inet6_fill_ifaddr in net/ipv6/addrconf.c), IPv4 always.
	if !local.IsValid() || local == address {
		a.Prefix = netip.PrefixFrom(address, int(header[1]))
	} else {
		a.Prefix = netip.PrefixFrom(local, local.BitLen())
	}
	return a, a.Prefix.IsValid()
}
