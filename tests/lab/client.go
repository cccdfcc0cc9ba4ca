package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"
)

// Client says how to make a connection.
type Client struct {
	Socket
	// Source is the address and port to connect from. The kernel chooses unset parts.
	Source netip.AddrPort
	// Timeout limits connecting and each exchange after it. 0 is DefaultTimeout.
	Timeout time.Duration
	// Once sends a datagram only once, so that a lost one has no answer.
	Once bool
}

// DefaultTimeout is far more than anything in a lab takes.
const DefaultTimeout = 30 * time.Second

func (c Client) timeout() time.Duration {
	if c.Timeout == 0 {
		return DefaultTimeout
	}
	return c.Timeout
}

// source returns the address to bind, of the family of to.
func (c Client) source(to netip.Addr) netip.AddrPort {
	if c.Source.Addr().IsValid() {
		return c.Source
	}
	if to.Is6() {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), c.Source.Port())
	}
	return netip.AddrPortFrom(netip.IPv4Unspecified(), c.Source.Port())
}

// Conn is a connection to a server of [Namespace.ServeTCP].
type Conn struct {
	net.Conn
	// Answer is what the server said when it accepted.
	Answer Answer

	reader  *bufio.Reader
	timeout time.Duration
}

// DialTCP connects and waits for the server's [Answer].
func (n *Namespace) DialTCP(ctx context.Context, c Client, to netip.AddrPort) (*Conn, error) {
	var conn *Conn
	err := n.As(c.As, func() error {
		var err error
		conn, err = c.DialHere(ctx, to)
		return err
	})
	return conn, err
}

// DialHere is DialTCP on the calling thread, inside a function that [Namespace.Do] or
// [Namespace.As] has called: it makes no thread for each connection. It ignores c.As.
func (c Client) DialHere(ctx context.Context, to netip.AddrPort) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout())
	defer cancel()
	dialer := net.Dialer{Control: c.control}
	if c.Source != (netip.AddrPort{}) {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(c.source(to.Addr()))
	}
	conn, err := dialer.DialContext(ctx, network("tcp", to.Addr()), to.String())
	if err != nil {
		return nil, err
	}
	answered := &Conn{Conn: conn, reader: bufio.NewReader(conn), timeout: c.timeout()}
	if err := answered.readAnswer(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return answered, nil
}

func (c *Conn) readAnswer() error {
	line, err := c.readLine()
	if err != nil {
		return fmt.Errorf("no answer from %s: %w", c.RemoteAddr(), err)
	}
	return json.Unmarshal(line, &c.Answer)
}

func (c *Conn) readLine() ([]byte, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.timeout)); err != nil {
		return nil, err
	}
	return c.reader.ReadBytes('\n')
}

// Echo sends a line, which must not contain a newline, and fails unless the
// server sends it back.
func (c *Conn) Echo(line string) error {
	if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		return err
	}
	got, err := c.readLine()
	if err != nil {
		return err
	}
	if string(got) != line+"\n" {
		return fmt.Errorf("sent %q, got back %q", line, got)
	}
	return nil
}

// Local returns the client's end of the connection.
func (c *Conn) Local() netip.AddrPort { return addrPort(c.LocalAddr()) }

// AskUDP sends one datagram to a server of [Namespace.ServeUDP] and returns its answer.
// An answer from another address is an error.
func (n *Namespace) AskUDP(ctx context.Context, c Client, to netip.AddrPort) (Answer, error) {
	reply, err := n.ExchangeUDP(ctx, c, to, []byte("hello"))
	if err != nil {
		return Answer{}, err
	}
	var answer Answer
	if err := json.Unmarshal(reply, &answer); err != nil {
		return Answer{}, fmt.Errorf("answer %q from %s: %w", reply, to, err)
	}
	return answer, nil
}

// ExchangeUDP sends query from a new socket and returns the reply. Like a resolver it
// asks again after a second, as a datagram can get lost. A reply from another address is
// an error.
func (n *Namespace) ExchangeUDP(ctx context.Context, c Client, to netip.AddrPort, query []byte) ([]byte, error) {
	conn, err := n.OpenUDP(c.Socket, c.source(to.Addr()))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	buf := make([]byte, 64<<10)
	for end := time.Now().Add(c.timeout()); ; {
		deadline := end
		if !c.Once {
			deadline = earlier(end, time.Now().Add(askAgain))
		}
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
		if _, err := conn.WriteToUDPAddrPort(query, to); err != nil {
			return nil, err
		}
		size, from, err := conn.ReadFromUDPAddrPort(buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(end):
		case err != nil:
			return nil, fmt.Errorf("no answer from %s: %w", to, err)
		case from != to:
			return nil, fmt.Errorf("asked %s, got an answer from %s", to, from)
		default:
			return buf[:size], nil
		}
	}
}

// askAgain is how long to wait for an answer before asking again.
const askAgain = time.Second

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
