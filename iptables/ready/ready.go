// Package ready answers readiness probes.
package ready

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables/internal/socket"
)

// probeTime limits a probe, and so how many are open at once.
const probeTime = 5 * time.Second

// Answer answers readiness probes at an address until end is called: whether check finds
// nothing wrong at that moment. Any HTTP request is one. The package net/http would make the
// program, which runs once for every pod, larger by a third.
func Answer(at netip.AddrPort, check func() error) (end func(), err error) {
	listener, err := listen(at)
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			// One after the other: probes are rare.
			answerOne(conn, check)
		}
	}()
	return func() { _ = listener.Close() }, nil
}

// listen listens at an address. That of all of IPv6 is that of all of IPv4 too.
func listen(at netip.AddrPort) (*socket.Listener, error) {
	if at.Addr() != netip.IPv6Unspecified() {
		return socket.Listen(socket.TCP, at, nil)
	}
	l, err := socket.Listen(socket.TCP, at, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_V6ONLY, 0)
	})
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return socket.Listen(socket.TCP, netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port()), nil)
	}
	return l, err
}

// answerOne answers one request; whoever does not send one has to try again.
func answerOne(conn *os.File, check func() error) {
	defer conn.Close()
	if conn.SetDeadline(time.Now().Add(probeTime)) != nil {
		return
	}
	request := bufio.NewReaderSize(conn, 4096)
	for {
		line, err := request.ReadSlice('\n')
		if err != nil {
			return
		}
		if len(line) <= len("\r\n") {
			break
		}
	}
	status, text := "200 OK", "ready"
	if err := check(); err != nil {
		status, text = "503 Service Unavailable", err.Error()
	}
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s\n", status, len(text)+1, text)
}
