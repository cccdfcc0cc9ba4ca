package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Listen listens at an address and calls serve, which must accept on the calling thread
// and return when the listener is closed. That thread is in the namespace and runs as the
// user how.As, who owns the connections. Listen returns as soon as clients can connect.
//
// stop closes the listener and waits for serve. Accepted connections stay. A second call
// does nothing. Close of the namespace stops it too.
func (n *Namespace) Listen(how Socket, at netip.AddrPort, serve func(net.Listener)) (stop func(), err error) {
	ready := make(chan error, 1)
	served := make(chan struct{})
	var listener net.Listener
	n.servers.Go(func() {
		defer close(served)
		err := n.As(how.As, func() error {
			var err error
			if listener, err = how.listenTCP(n.alive, at); err != nil {
				return err
			}
			ready <- nil
			stop := context.AfterFunc(n.alive, func() { listener.Close() })
			defer stop()
			serve(listener)
			return nil
		})
		if err != nil {
			ready <- fmt.Errorf("failed to listen at %s in %s: %w", at, n.name, err)
		}
	})
	if err := <-ready; err != nil {
		return nil, err
	}
	return sync.OnceFunc(func() { hangUp(listener); <-served }), nil
}

// hangUp closes a listener. Closing only its file could take effect later: a program that
// another test is starting has the file open until it runs.
func hangUp(l net.Listener) {
	socket := -1
	if raw, err := l.(syscall.Conn).SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { socket, _ = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	}
	// Closed first, it shows the acceptor that this is no error.
	l.Close()
	_ = unix.Shutdown(socket, unix.SHUT_RDWR)
	_ = unix.Close(socket)
}

// Dial connects, by "tcp" or "udp". The caller does the talking.
func (n *Namespace) Dial(ctx context.Context, protocol string, c Client, to netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout())
	defer cancel()
	dialer := net.Dialer{Control: c.control}
	if source := c.source(to.Addr()); protocol == "udp" {
		dialer.LocalAddr = net.UDPAddrFromAddrPort(source)
	} else if c.Source != (netip.AddrPort{}) {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(source)
	}
	var conn net.Conn
	err := n.As(c.As, func() error {
		var err error
		conn, err = dialer.DialContext(ctx, network(protocol, to.Addr()), to.String())
		return err
	})
	return conn, err
}
