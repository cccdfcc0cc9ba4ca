// Proxy stands in for a sidecar in TPROXY mode. Like a sidecar it listens for connections
// to other addresses. It answers the first one of each family with its destination and
// source, and ends.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// inboundPort is the default of --inbound-port.
const inboundPort = ":15006"

// patience is how long to wait for a connection.
const patience = 20 * time.Second

func main() {
	if err := errors.Join(answerOne("tcp4"), answerOne("tcp6")); err != nil {
		fmt.Fprintf(os.Stderr, "proxy: %v\n", err)
		os.Exit(1)
	}
}

func answerOne(network string) error {
	how := net.ListenConfig{Control: transparent}
	listener, err := how.Listen(context.Background(), network, inboundPort)
	if err != nil {
		return err
	}
	defer listener.Close()
	if err := listener.(*net.TCPListener).SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	conn, err := listener.Accept()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(conn, "to %s from %s", conn.LocalAddr(), conn.RemoteAddr())
	return errors.Join(err, conn.Close())
}

// transparent lets a socket accept connections to other addresses; see IP_TRANSPARENT in
// ip(7).
func transparent(network, _ string, raw syscall.RawConn) error {
	level, option := unix.SOL_IP, unix.IP_TRANSPARENT
	if network == "tcp6" {
		level, option = unix.SOL_IPV6, unix.IPV6_TRANSPARENT
	}
	var err error
	if controlErr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, 1) }); controlErr != nil {
		return controlErr
	}
	if err != nil {
		return fmt.Errorf("failed to make a socket transparent: %w", err)
	}
	return nil
}
