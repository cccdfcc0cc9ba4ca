package iptables

import "net/netip"

// Family is an address family. Every table exists once per family.
type Family uint8

// The two families that iptables and ip6tables filter.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// Families returns both families in the order in which they are written.
func Families() []Family { return []Family{IPv4, IPv6} }

// FamilyOf returns the family of an address. An IPv4-mapped IPv6 address
// counts as IPv6, as it does for the kernel.
func FamilyOf(addr netip.Addr) Family {
	if addr.Is4() {
		return IPv4
	}
	return IPv6
}

// String returns "IPv4" or "IPv6".
func (f Family) String() string {
	if f == IPv6 {
		return "IPv6"
	}
	return "IPv4"
}

// Command returns the name of the program that serves the family: "iptables"
// or "ip6tables".
func (f Family) Command() string {
	if f == IPv6 {
		return "ip6tables"
	}
	return "iptables"
}

// Unspecified returns the all-zero address of the family.
func (f Family) Unspecified() netip.Addr {
	if f == IPv6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// Loopback returns the loopback address: 127.0.0.1 or ::1.
func (f Family) Loopback() netip.Addr {
	if f == IPv6 {
		return netip.IPv6Loopback()
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}
