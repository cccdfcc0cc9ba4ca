package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The proxy's ports: for the connections of the application, for those to it, and for what
// Istio's proxy answers itself.
const (
	outboundPort = 15001
	inboundPort  = 15006
	healthPort   = 15021
)

// proxy serves these ports. Inbound connections are passed on from addresses that the rules
// leave alone.
func proxy() error {
	passthrough := map[bool]net.Addr{true: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 6)}, false: &net.TCPAddr{IP: net.ParseIP("::6")}}
	for _, d := range []struct {
		name   string
		port   int
		source func(to netip.AddrPort) net.Addr
	}{
		{"outbound", outboundPort, func(netip.AddrPort) net.Addr { return nil }},
		{"inbound", inboundPort, func(to netip.AddrPort) net.Addr { return passthrough[to.Addr().Is4()] }},
	} {
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", d.port))
		if err != nil {
			return err
		}
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go pass(d.name, conn.(*net.TCPConn), d.port, d.source)
			}
		}()
	}
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", healthPort))
	if err != nil {
		return err
	}
	go func() { _ = http.Serve(l, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})) }()
	return nil
}

// pass passes a connection on to where it was going. One that was not captured has no other
// destination than the proxy itself, and is closed.
func pass(direction string, from *net.TCPConn, port int, source func(netip.AddrPort) net.Addr) {
	defer from.Close()
	to, err := destination(from)
	if err != nil || int(to.Port()) == port {
		fmt.Printf("%s refused: %v %v\n", direction, to, err)
		return
	}
	fmt.Printf("%s to %s from %s\n", direction, to, from.RemoteAddr())
	dialer := net.Dialer{LocalAddr: source(to), Timeout: 10 * time.Second}
	conn, err := dialer.Dial("tcp", to.String())
	if err != nil {
		fmt.Printf("%s to %s: %v\n", direction, to, err)
		return
	}
	defer conn.Close()
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(conn, from)
		_ = conn.(*net.TCPConn).CloseWrite()
		close(done)
	}()
	_, _ = io.Copy(from, conn)
	_ = from.CloseWrite()
	<-done
}

// destination asks the kernel where a connection was going (SO_ORIGINAL_DST of
// linux/netfilter_ipv4.h, IP6T_SO_ORIGINAL_DST of linux/netfilter_ipv6/ip6_tables.h).
func destination(conn *net.TCPConn) (to netip.AddrPort, err error) {
	const originalDestination = 80
	raw, err := conn.SyscallConn()
	if err != nil {
		return to, err
	}
	local := conn.LocalAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	var failed error
	err = raw.Control(func(fd uintptr) {
		if local.Is4() {
			// struct sockaddr_in fits.
			var a *unix.IPv6Mreq
			if a, failed = unix.GetsockoptIPv6Mreq(int(fd), unix.IPPROTO_IP, originalDestination); failed == nil {
				b := a.Multiaddr
				to = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), uint16(b[2])<<8|uint16(b[3]))
			}
			return
		}
		// struct sockaddr_in6 is at the beginning of the answer.
		var a *unix.IPv6MTUInfo
		if a, failed = unix.GetsockoptIPv6MTUInfo(int(fd), unix.IPPROTO_IPV6, originalDestination); failed == nil {
			p := a.Addr.Port
			to = netip.AddrPortFrom(netip.AddrFrom16(a.Addr.Addr), p<<8|p>>8)
		}
	})
	if failed == nil {
		failed = err
	}
	if failed == syscall.ENOENT {
		return netip.AddrPortFrom(local, uint16(conn.LocalAddr().(*net.TCPAddr).Port)), nil
	}
	return to, failed
}
