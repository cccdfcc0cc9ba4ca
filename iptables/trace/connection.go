package trace

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/internal/identity"
)

// connection is a socket that is about to connect.
type connection struct {
	fd int
	p  explain.Packet
}

// newConnection makes a socket of the packet's owner, with its mark and its source,
// which the kernel chooses where this machine does not have it.
func newConnection(p explain.Packet) (*connection, error) {
	kind, ok := map[iptables.Protocol]int{iptables.TCP: unix.SOCK_STREAM, iptables.UDP: unix.SOCK_DGRAM}[p.Protocol]
	if !ok {
		return nil, protocolError(p.Protocol)
	}
	domain := unix.AF_INET
	if p.Destination.Is6() {
		domain = unix.AF_INET6
	}
	c := &connection{fd: -1, p: p}
	err := identity.As(p.Owner.UID, p.Owner.GID, func() (err error) {
		c.fd, err = unix.Socket(domain, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		return os.NewSyscallError("socket", err)
	})
	if err == nil {
		err = c.prepare()
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *connection) prepare() error {
	if c.p.Mark != 0 {
		if err := unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_MARK, int(c.p.Mark)); err != nil {
			return fmt.Errorf("failed to mark a packet: %w", err)
		}
	}
	err := unix.Bind(c.fd, sockaddr(c.p.Source, c.p.SourcePort))
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		c.p.Source = c.p.Family().Unspecified()
		err = unix.Bind(c.fd, sockaddr(c.p.Source, c.p.SourcePort))
	}
	if err != nil {
		return os.NewSyscallError("bind", err)
	}
	local, err := unix.Getsockname(c.fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	switch local := local.(type) {
	case *unix.SockaddrInet4:
		c.p.SourcePort = uint16(local.Port)
	case *unix.SockaddrInet6:
		c.p.SourcePort = uint16(local.Port)
	}
	return nil
}

func (c *connection) packet() explain.Packet { return c.p }

// send sends the first packet: that of TCP by connecting, without waiting for an
// answer, that of UDP empty.
func (c *connection) send() error {
	to := sockaddr(c.p.Destination, c.p.DestinationPort)
	if c.p.Protocol == iptables.UDP {
		return os.NewSyscallError("sendto", unix.Sendto(c.fd, nil, 0, to))
	}
	err := unix.Connect(c.fd, to)
	if errors.Is(err, unix.EINPROGRESS) || errors.Is(err, unix.ECONNREFUSED) {
		return nil
	}
	return os.NewSyscallError("connect", err)
}

// Close ends the connection.
func (c *connection) Close() error {
	if c.fd < 0 {
		return nil
	}
	fd := c.fd
	c.fd = -1
	return os.NewSyscallError("close", unix.Close(fd))
}

func sockaddr(a netip.Addr, port uint16) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4(), Port: int(port)}
	}
	return &unix.SockaddrInet6{Addr: a.As16(), Port: int(port)}
}
