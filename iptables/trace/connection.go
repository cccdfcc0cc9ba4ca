package trace

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/identity"
	"github.com/meshtables/meshtables/iptables/internal/socket"
)

// connection is a socket that is about to connect.
type connection struct {
	fd int
	p  iptables.Packet
}

// newConnection makes a socket with the packet's owner, mark and source address. The
// kernel chooses the address if this machine does not have it.
func newConnection(p iptables.Packet) (*connection, error) {
	kind, ok := map[iptables.Protocol]int{iptables.TCP: unix.SOCK_STREAM, iptables.UDP: unix.SOCK_DGRAM}[p.Protocol]
	if !ok {
		return nil, protocolError(p.Protocol)
	}
	c := &connection{fd: -1, p: p}
	err := identity.As(p.Owner.UID, p.Owner.GID, func() (err error) {
		c.fd, err = unix.Socket(socket.Domain(p.Destination), kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
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
	err := unix.Bind(c.fd, socket.Address(netip.AddrPortFrom(c.p.Source, c.p.SourcePort)))
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		c.p.Source = c.p.Family().Unspecified()
		err = unix.Bind(c.fd, socket.Address(netip.AddrPortFrom(c.p.Source, c.p.SourcePort)))
	}
	if err != nil {
		return os.NewSyscallError("bind", err)
	}
	local, err := unix.Getsockname(c.fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	c.p.SourcePort = socket.Port(local)
	return nil
}

func (c *connection) packet() iptables.Packet { return c.p }

// send sends the first packet: for TCP by connecting, without waiting for an answer, for
// UDP an empty one.
func (c *connection) send() error {
	to := socket.Address(netip.AddrPortFrom(c.p.Destination, c.p.DestinationPort))
	call, err := "connect", error(nil)
	if c.p.Protocol == iptables.UDP {
		call, err = "sendto", unix.Sendto(c.fd, nil, 0, to)
	} else {
		err = unix.Connect(c.fd, to)
	}
	switch {
	case errors.Is(err, unix.EINPROGRESS), errors.Is(err, unix.ECONNREFUSED):
		return nil
	case isRefusal(err):
		return &refusal{err}
	}
	return os.NewSyscallError(call, err)
}

// isRefusal reports whether an error is about the packet, not about the socket: a rule
// dropped it on its way out (EPERM; nf_hook_slow in net/netfilter/core.c), which only UDP
// reports, or routing has no route for it or refuses it (ip-route(8), types of routes).
func isRefusal(err error) bool {
	return slices.ContainsFunc([]error{
		unix.EPERM, unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EACCES, unix.EINVAL,
	}, func(errno error) bool { return errors.Is(err, errno) })
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
