package lab

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// soOriginalDst is SO_ORIGINAL_DST of linux/netfilter_ipv4.h and
// IP6T_SO_ORIGINAL_DST of linux/netfilter_ipv6/ip6_tables.h: the same number, at
// another level.
const soOriginalDst = 80

// originalDst returns where the client of an accepted connection connected to, as
// connection tracking remembers it. It returns the zero AddrPort if nothing is tracked,
// as without rules.
func originalDst(conn *net.TCPConn) netip.AddrPort {
	raw, err := conn.SyscallConn()
	if err != nil {
		return netip.AddrPort{}
	}
	v6 := addrPort(conn.LocalAddr()).Addr().Is6()
	var dst netip.AddrPort
	_ = raw.Control(func(fd uintptr) {
		if v6 {
			dst = originalDst6(int(fd))
		} else {
			dst = originalDst4(int(fd))
		}
	})
	return dst
}

// originalDst4 reads a struct sockaddr_in: family, then port and address in network
// order. IPv6Mreq is a large enough structure that golang.org/x/sys/unix can read for an
// unknown option.
func originalDst4(fd int) netip.AddrPort {
	in, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, soOriginalDst)
	if err != nil {
		return netip.AddrPort{}
	}
	b := in.Multiaddr
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:4]))
}

// originalDst6 reads a struct sockaddr_in6, the beginning of an IPv6MTUInfo. Its port is
// in network order.
func originalDst6(fd int) netip.AddrPort {
	in, err := unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, soOriginalDst)
	if err != nil {
		return netip.AddrPort{}
	}
	port := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, in.Addr.Port))
	return netip.AddrPortFrom(netip.AddrFrom16(in.Addr.Addr), port)
}

// addrPort returns the address and port of a TCP or UDP address.
func addrPort(a net.Addr) netip.AddrPort {
	withPort, ok := a.(interface{ AddrPort() netip.AddrPort })
	if !ok {
		return netip.AddrPort{}
	}
	ap := withPort.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
