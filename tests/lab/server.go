package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Answer is what a server tells each client: who it is and what it sees.
type Answer struct {
	// Server is the name of the server that answers.
	Server string
	// OriginalDst is where the client wanted to go, as connection tracking remembers it
	// (SO_ORIGINAL_DST). It is zero for UDP, and if nothing is tracked.
	OriginalDst netip.AddrPort
	// Local is the server's end of the connection, Client the other.
	Local, Client netip.AddrPort
	// Query is what the client sent, for UDP.
	Query string `json:",omitempty"`
}

// lifetime limits a connection in case nobody ends it.
const lifetime = 10 * time.Minute

// ServeTCP listens at an address until the namespace is closed. It sends each
// client an [Answer], then whatever the client sends. It returns as soon as
// clients can connect.
func (n *Namespace) ServeTCP(name string, how Socket, at netip.AddrPort) error {
	ready := make(chan error, 1)
	n.servers.Go(func() {
		// The thread that listens also accepts: for xt_owner, connections belong to the
		// user who accepts them.
		err := n.As(how.As, func() error {
			listener, err := how.listenTCP(n.alive, at)
			if err != nil {
				return err
			}
			stop := context.AfterFunc(n.alive, func() { listener.Close() })
			defer stop()
			ready <- nil
			n.accept(name, listener)
			return nil
		})
		if err != nil {
			ready <- fmt.Errorf("failed to listen at %s in %s: %w", at, n.name, err)
		}
	})
	return <-ready
}

// accept serves the clients of listener until it is closed.
func (n *Namespace) accept(name string, listener net.Listener) {
	defer listener.Close()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		n.servers.Go(func() {
			defer conn.Close()
			stop := context.AfterFunc(n.alive, func() { conn.Close() })
			defer stop()
			serve(name, conn.(*net.TCPConn))
		})
	}
}

// serve answers one client. The client notices if something goes wrong.
func serve(name string, conn *net.TCPConn) {
	_ = conn.SetDeadline(time.Now().Add(lifetime))
	answer := Answer{
		Server:      name,
		OriginalDst: originalDst(conn),
		Local:       addrPort(conn.LocalAddr()),
		Client:      addrPort(conn.RemoteAddr()),
	}
	if err := json.NewEncoder(conn).Encode(answer); err != nil {
		return
	}
	_, _ = io.Copy(conn, conn)
}

// ServeUDP answers every datagram to an address, which must not be unspecified, with an
// [Answer], until the namespace is closed.
func (n *Namespace) ServeUDP(name string, how Socket, at netip.AddrPort) error {
	return n.HandleUDP(how, at, func(query []byte, from netip.AddrPort) []byte {
		reply, err := json.Marshal(Answer{Server: name, Local: at, Client: from, Query: string(query)})
		if err != nil {
			return nil
		}
		return reply
	})
}

// HandleUDP calls handle, in its own goroutine, for every datagram to an address, and
// sends back the result unless that is nil. The address must not be unspecified: the
// kernel would choose the one to reply from.
func (n *Namespace) HandleUDP(how Socket, at netip.AddrPort, handle func(query []byte, from netip.AddrPort) []byte) error {
	conn, err := n.OpenUDP(how, at)
	if err != nil {
		return err
	}
	n.servers.Go(func() {
		defer conn.Close()
		stop := context.AfterFunc(n.alive, func() { conn.Close() })
		defer stop()
		buf := make([]byte, 64<<10)
		for {
			size, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			query := append([]byte(nil), buf[:size]...)
			n.servers.Go(func() {
				if reply := handle(query, from); reply != nil {
					_, _ = conn.WriteToUDPAddrPort(reply, from)
				}
			})
		}
	})
	return nil
}

// OpenUDP opens a socket bound to at. The caller closes it.
func (n *Namespace) OpenUDP(how Socket, at netip.AddrPort) (*net.UDPConn, error) {
	var conn *net.UDPConn
	err := n.As(how.As, func() (err error) {
		// A socket closed here stays open until every program that was just being started
		// has closed its copy.
		for range 100 {
			if conn, err = how.listenUDP(n.alive, at); !errors.Is(err, unix.EADDRINUSE) {
				break
			}
			time.Sleep(time.Millisecond)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("failed to open UDP socket %s in %s: %w", at, n.name, err)
	}
	return conn, nil
}
