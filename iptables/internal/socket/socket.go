// Package socket has sockets of TCP and UDP that listen at a numeric address.
//
// Those of package net can also do what the program never does, such as to ask name
// servers, which makes it larger by a third of a megabyte.
package socket

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Listener is a socket that listens. Waits end when it is closed.
type Listener struct {
	file *os.File // not blocking, so that waits can be ended
	raw  syscall.RawConn
	port uint16
}

// The types of sockets.
const (
	TCP = unix.SOCK_STREAM
	UDP = unix.SOCK_DGRAM
)

// Listen opens a socket of a type. Port 0 is any that is free. prepare, which may be nil,
// is called before the socket has its address, on the calling thread. Unless it says
// otherwise, a socket of IPv6 does not get what comes by IPv4.
func Listen(kind int, at netip.AddrPort, prepare func(fd int) error) (*Listener, error) {
	l, err := open(kind, at, prepare)
	if err != nil {
		return nil, fmt.Errorf("failed to listen at %s: %w", at, err)
	}
	return l, nil
}

func open(kind int, at netip.AddrPort, prepare func(fd int) error) (*Listener, error) {
	fd, err := unix.Socket(Domain(at.Addr()), kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	l := &Listener{file: os.NewFile(uintptr(fd), at.String())}
	if l.port, err = listen(fd, kind, at, prepare); err == nil {
		l.raw, err = l.file.SyscallConn()
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func listen(fd, kind int, at netip.AddrPort, prepare func(fd int) error) (port uint16, err error) {
	if kind == TCP {
		// A port may be taken again while connections of before end (tcp(7)).
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return 0, os.NewSyscallError("setsockopt", err)
		}
	}
	if at.Addr().Is6() {
		if err := unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return 0, os.NewSyscallError("setsockopt", err)
		}
	}
	if prepare != nil {
		if err := prepare(fd); err != nil {
			return 0, err
		}
	}
	if err := unix.Bind(fd, Address(at)); err != nil {
		return 0, os.NewSyscallError("bind", err)
	}
	if kind == TCP {
		if err := unix.Listen(fd, unix.SOMAXCONN); err != nil {
			return 0, os.NewSyscallError("listen", err)
		}
	}
	local, err := unix.Getsockname(fd)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	return Port(local), nil
}

// Port returns the port at which it listens.
func (l *Listener) Port() uint16 { return l.port }

// Accept waits for a connection.
func (l *Listener) Accept() (*os.File, error) {
	var fd int
	err := l.wait(func(own int) (err error) {
		fd, _, err = unix.Accept4(own, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		if errors.Is(err, unix.ECONNABORTED) {
			// The other end has gone before we looked.
			err = unix.EAGAIN
		}
		return err
	})
	if err != nil {
		return nil, os.NewSyscallError("accept", err)
	}
	return os.NewFile(uintptr(fd), "connection"), nil
}

// ReceiveFrom waits for a datagram. What of it does not fit is lost.
func (l *Listener) ReceiveFrom(b []byte) (n int, from unix.Sockaddr, err error) {
	err = l.wait(func(own int) (err error) {
		n, from, err = unix.Recvfrom(own, b, 0)
		return err
	})
	return n, from, os.NewSyscallError("recvfrom", err)
}

// SendTo sends a datagram, or loses it.
func (l *Listener) SendTo(b []byte, to unix.Sockaddr) error {
	var sendErr error
	if err := l.raw.Control(func(fd uintptr) { sendErr = unix.Sendto(int(fd), b, 0, to) }); err != nil {
		return err
	}
	return os.NewSyscallError("sendto", sendErr)
}

// wait repeats a call until it has something.
func (l *Listener) wait(call func(fd int) error) error {
	var err error
	closed := l.raw.Read(func(fd uintptr) (done bool) {
		for {
			// Go's own scheduler sends signals.
			if err = call(int(fd)); err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	if closed != nil {
		return closed
	}
	return err
}

// Close closes the socket.
func (l *Listener) Close() error { return l.file.Close() }

// Domain returns the family of sockets for an address.
func Domain(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// Address returns an address for system calls.
func Address(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// Port returns the port of an address, or 0 if it has none.
func Port(a unix.Sockaddr) uint16 {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return uint16(a.Port)
	case *unix.SockaddrInet6:
		return uint16(a.Port)
	}
	return 0
}
