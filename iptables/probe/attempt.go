package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/socket"
)

// attempt is a connection to try: who connects to an address. It has to arrive at port
// want or, if that is 0, not at the proxy.
type attempt struct {
	name     string
	family   iptables.Family
	protocol iptables.Protocol
	who      identity
	byGroup  bool       // captured because of the group
	from     netip.Addr // the zero value leaves the choice to the kernel
	to       netip.AddrPort
	want     uint16
	// instead is where a connection that has to be left alone would arrive if it were
	// not.
	instead uint16
	// listener is the identity that listens there.
	listener identity
	// by is how someone outside comes in. It is the zero value if the connection comes
	// from the namespace itself.
	by linkOutside
	// transparent is for connections that arrive by TPROXY. mark is the proxy's on
	// packets from a foreign address.
	transparent bool
	mark        uint32

	token  token
	client *os.File
	// arrived gets the port at which the message arrives.
	arrived <-chan uint16
	// err says why it cannot be tried, and unsent why the datagram was not sent.
	err, unsent error
}

func (a *attempt) isOutside() bool { return a.by != linkOutside{} }

// listen makes the listener that the attempt needs.
func (a *attempt) listen(p *post) (err error) {
	if _, err := unix.Getrandom(a.token[:], 0); err != nil {
		return err
	}
	at := place{a.family, a.protocol, a.family.Unspecified(), a.want + a.instead}
	switch {
	case at.port == 0:
		// The application's port is any that is free.
		at.addr = a.to.Addr()
		a.want, err = p.listen(at, socketOptions{})
		a.to = netip.AddrPortFrom(a.to.Addr(), a.want)
		return err
	case a.protocol == iptables.UDP:
		// An answer has to come from the address that the query was redirected to: for
		// queries from this machine that is loopback.
		at.addr = a.family.Loopback()
	}
	_, err = p.listen(at, socketOptions{a.transparent, a.listener.mark})
	return err
}

// open opens the client's socket and starts to connect, without waiting. A datagram is sent too:
// gVisor asks who has opened the socket when a packet leaves, and takes who that thread is then.
func (a *attempt) open() error {
	kind := socket.TCP
	if a.protocol == iptables.UDP {
		kind = socket.UDP
	}
	fd, err := unix.Socket(socket.Domain(a.to.Addr()), kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("failed to open a socket: %w", err)
	}
	// Other threads wait for the connection.
	a.client = os.NewFile(uintptr(fd), a.to.String())
	switch {
	case a.mark != 0:
		err := setMark(fd, a.mark)
		if err == nil {
			err = makeTransparent(fd, a.family)
		}
		if err != nil {
			return fmt.Errorf("connecting from a foreign address takes CAP_NET_ADMIN: %w", err)
		}
	case a.who.mark != 0:
		if err := setMark(fd, a.who.mark); err != nil {
			return fmt.Errorf("sending with a mark takes CAP_NET_ADMIN: %w", err)
		}
	}
	if a.from.IsValid() {
		if err := unix.Bind(fd, socket.Address(netip.AddrPortFrom(a.from, 0))); err != nil {
			return fmt.Errorf("failed to connect from %s: %w", a.from, err)
		}
	}
	if err := unix.Connect(fd, socket.Address(a.to)); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return fmt.Errorf("failed to connect: %w", err)
	}
	if a.protocol == iptables.UDP {
		_, a.unsent = a.client.Write(a.token[:])
	}
	return nil
}

func (a *attempt) close() {
	if a.client != nil {
		a.client.Close()
	}
}

// quiet is how long to wait for something that must not arrive. Within one machine,
// redirected packets arrive at once.
const quiet = 300 * time.Millisecond

// watch sends the message, unless it is a datagram, and returns the result.
func (a *attempt) watch(ctx context.Context) <-chan Step {
	result := make(chan Step, 1)
	s := a.step()
	if a.err != nil {
		s.Outcome, s.Detail = judgeUntried(a.err)
		result <- s
		return result
	}
	// The context limits everything.
	deadline, _ := ctx.Deadline()
	err := a.client.SetDeadline(deadline)
	sent := make(chan error, 1)
	go func() {
		switch {
		case err != nil:
		case a.protocol == iptables.UDP:
			err = a.unsent
		default:
			_, err = a.client.Write(a.token[:])
		}
		sent <- err
	}()
	go func() {
		if a.want == 0 {
			result <- a.leftAlone(ctx, s)
		} else {
			result <- a.arrives(ctx, s, sent)
		}
	}()
	return result
}

// arrives completes the report of what has to arrive.
func (a *attempt) arrives(ctx context.Context, s Step, sent <-chan error) Step {
	s.Outcome, s.Detail = Failed, "no answer"
	for {
		select {
		case s.Arrived = <-a.arrived:
			switch {
			case s.Arrived != a.want:
				s.Detail = fmt.Sprintf("expected port %d", a.want)
			case a.protocol == iptables.UDP && !a.answered():
				s.Detail = "its answer did not come back"
			default:
				s.Outcome, s.Detail = Passed, ""
			}
			return s
		case err := <-sent:
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				s.Outcome, s.Detail = judge(err)
				return s
			}
			if err == nil {
				s.Detail = "another server took it"
			}
			sent = nil
		case <-ctx.Done():
			return s
		}
	}
}

// answered waits for the answer to a datagram.
func (a *attempt) answered() bool {
	var answer token
	n, err := a.client.Read(answer[:])
	return err == nil && n == len(answer) && answer == a.token
}

// leftAlone completes the report of what must not arrive. Where it goes instead does not
// matter.
func (a *attempt) leftAlone(ctx context.Context, s Step) Step {
	over := time.NewTimer(quiet)
	defer over.Stop()
	select {
	case s.Arrived = <-a.arrived:
		s.Outcome, s.Detail = Failed, "the proxy must not get what it sends itself"
	case <-over.C:
		s.Outcome = Passed
	case <-ctx.Done():
		s.Outcome, s.Detail = Unknown, "there was not enough time"
	}
	return s
}
