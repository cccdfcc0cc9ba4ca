package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/socket"
)

// token is a message that no other client sends by chance.
type token [16]byte

// place is where messages arrive.
type place struct {
	family   iptables.Family
	protocol iptables.Protocol
	// addr is unspecified for all addresses.
	addr netip.Addr
	port uint16
}

// post receives messages at places, and reports each to its waiter.
type post struct {
	ctx context.Context // ends when the post is closed
	end context.CancelFunc

	mu        sync.Mutex
	waiting   map[token]chan uint16
	listeners map[place]listener
	servers   sync.WaitGroup
}

// listener is the listener at a place, or why there is none.
type listener struct {
	io.Closer
	port uint16
	err  error
}

func newPost() *post {
	p := &post{waiting: make(map[token]chan uint16), listeners: make(map[place]listener)}
	p.ctx, p.end = context.WithCancel(context.Background())
	return p
}

func (p *post) close() {
	p.end()
	for _, l := range p.listeners {
		if l.err == nil {
			l.Close()
		}
	}
	p.servers.Wait()
}

// expect returns a channel that gets the port at which the message arrives.
func (p *post) expect(t token) <-chan uint16 {
	p.mu.Lock()
	defer p.mu.Unlock()
	arrived := make(chan uint16, 1)
	p.waiting[t] = arrived
	return arrived
}

// arrive reports a message to its waiter, and returns whether there is one.
func (p *post) arrive(t token, port uint16) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	arrived, ok := p.waiting[t]
	if ok {
		select {
		case arrived <- port:
		default:
			// The waiter knows already: a datagram came twice.
		}
	}
	return ok
}

// socketOptions are those of the proxy's listeners. Connections have the mark of their
// listener.
type socketOptions struct {
	transparent bool
	mark        uint32
}

// set sets them for a socket of a family.
func (o socketOptions) set(fd int, f iptables.Family) error {
	if o.transparent {
		if err := acceptForeign(fd, f); err != nil {
			return err
		}
	}
	if o.mark == 0 {
		return nil
	}
	return setMark(fd, o.mark)
}

// setMark marks what a socket sends (SO_MARK in socket(7)). It takes CAP_NET_ADMIN.
func setMark(fd int, mark uint32) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(mark))
}

// listen makes a listener at a place, or returns the existing one. Its socket belongs to
// the calling thread's user and network namespace.
func (p *post) listen(at place, how socketOptions) (port uint16, err error) {
	if l, ok := p.listeners[at]; ok {
		return l.port, l.err
	}
	kind, serve := socket.TCP, p.serveTCP
	if at.protocol == iptables.UDP {
		kind, serve = socket.UDP, p.serveUDP
	}
	l, err := socket.Listen(kind, netip.AddrPortFrom(at.addr, at.port), func(fd int) error { return how.set(fd, at.family) })
	if err != nil {
		p.listeners[at] = listener{port: at.port, err: err}
		return at.port, err
	}
	p.listeners[at] = listener{Closer: l, port: l.Port()}
	p.servers.Go(func() { serve(l) })
	return l.Port(), nil
}

func (p *post) serveTCP(l *socket.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		p.servers.Go(func() { p.receive(conn, l.Port()) })
	}
}

func (p *post) receive(conn *os.File, port uint16) {
	defer conn.Close()
	stop := context.AfterFunc(p.ctx, func() { conn.Close() })
	defer stop()
	var t token
	if _, err := io.ReadFull(conn, t[:]); err == nil {
		p.arrive(t, port)
	}
}

// serveUDP sends back every message: its sender must get the answer.
func (p *post) serveUDP(l *socket.Listener) {
	for {
		var t token
		n, from, err := l.ReceiveFrom(t[:])
		if err != nil {
			return
		}
		if n == len(t) && p.arrive(t, l.Port()) {
			_ = l.SendTo(t[:], from)
		}
	}
}

// acceptForeign lets a listener accept connections to foreign addresses.
func acceptForeign(fd int, f iptables.Family) error {
	err := makeTransparent(fd, f)
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("accepting connections from TPROXY takes CAP_NET_ADMIN or CAP_NET_RAW: %w", err)
	}
	return err
}

// makeTransparent lets a socket use a foreign address (IP_TRANSPARENT in ip(7)): accept
// connections to one, as they come by TPROXY, or connect from one. It takes CAP_NET_ADMIN
// or CAP_NET_RAW (do_ip_setsockopt in net/ipv4/ip_sockglue.c).
func makeTransparent(fd int, f iptables.Family) error {
	if f == iptables.IPv6 {
		return unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1)
	}
	return unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1)
}
