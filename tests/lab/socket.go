package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// Socket says how to make a socket.
type Socket struct {
	// As is the user and group that owns it.
	As Identity
	// Transparent sockets (IP_TRANSPARENT, ip(7)) can be bound to foreign addresses and
	// accept connections from TPROXY. As.UID must be 0.
	Transparent bool
	// Mark is the mark of its packets, 0 for none. As.UID must be 0.
	Mark int
	// SharesPort lets clients connect from the same address and port to several servers
	// (SO_REUSEADDR, socket(7)).
	SharesPort bool
}

// control sets the options of a socket before it is bound.
func (s Socket) control(network, _ string, raw syscall.RawConn) error {
	var err error
	controlErr := raw.Control(func(fd uintptr) { err = s.setOptions(int(fd), isIPv6(network)) })
	if controlErr != nil {
		return controlErr
	}
	return err
}

func (s Socket) setOptions(fd int, v6 bool) error {
	if s.Mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, s.Mark); err != nil {
			return fmt.Errorf("failed to mark a socket: %w", err)
		}
	}
	if s.SharesPort {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return fmt.Errorf("failed to let sockets share a port: %w", err)
		}
	}
	if !s.Transparent {
		return nil
	}
	level, option := unix.SOL_IP, unix.IP_TRANSPARENT
	if v6 {
		level, option = unix.SOL_IPV6, unix.IPV6_TRANSPARENT
	}
	if err := unix.SetsockoptInt(fd, level, option, 1); err != nil {
		return fmt.Errorf("failed to make a socket transparent: %w", err)
	}
	return nil
}

// listenTCP listens on the calling thread. Multipath TCP, which is Go's default, would
// put another socket between connection tracking and this one.
func (s Socket) listenTCP(ctx context.Context, at netip.AddrPort) (net.Listener, error) {
	config := net.ListenConfig{Control: s.control}
	config.SetMultipathTCP(false)
	return config.Listen(ctx, network("tcp", at.Addr()), at.String())
}

// listenUDP opens a socket on the calling thread.
func (s Socket) listenUDP(ctx context.Context, at netip.AddrPort) (*net.UDPConn, error) {
	config := net.ListenConfig{Control: s.control}
	conn, err := config.ListenPacket(ctx, network("udp", at.Addr()), at.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

// network returns "tcp4", "tcp6", "udp4" or "udp6": never both families, so that
// addresses have the family that they look like.
func network(protocol string, a netip.Addr) string {
	if a.Is6() {
		return protocol + "6"
	}
	return protocol + "4"
}

func isIPv6(network string) bool { return network[len(network)-1] == '6' }
