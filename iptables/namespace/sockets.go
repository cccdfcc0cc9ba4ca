package namespace

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	nfnetlink "github.com/meshtables/meshtables/iptables/internal/netlink"
)

// Netfilter returns the connection to the netfilter subsystems, which is the same for all
// of a run. It is not for tables that are to go with their socket; see
// [Namespace.DialNetfilter].
func (n *Namespace) Netfilter() (*nfnetlink.Conn, error) {
	if n.netfilter != nil && !n.netfilter.Broken() {
		return n.netfilter, nil
	}
	if n.netfilter != nil {
		_ = n.netfilter.Close()
		n.netfilter = nil
	}
	c, err := n.DialNetfilter()
	if err != nil {
		return nil, err
	}
	n.netfilter = c
	return c, nil
}

// DialNetfilter opens another connection to the netfilter subsystems, which the caller
// closes.
func (n *Namespace) DialNetfilter() (*nfnetlink.Conn, error) {
	var s nfnetlink.Socket
	err := n.Do(func() (err error) {
		s, err = n.dial()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("failed to open a netlink socket: %w", err)
	}
	return nfnetlink.NewConn(s), nil
}

// ListenNetfilter opens a socket that receives what the kernel sends to a multicast group
// (enum nfnetlink_groups, linux/netfilter/nfnetlink.h). The caller closes it.
func (n *Namespace) ListenNetfilter(group int) (s *nfnetlink.KernelSocket, err error) {
	err = n.Do(func() (err error) {
		s, err = nfnetlink.Dial()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("failed to open a netlink socket: %w", err)
	}
	if err := s.Join(group); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// routingTimeout is how long a lost answer is waited for, unless the context ends
// earlier. The kernel has its answer ready when it has read the request, so this is for
// kernels that are none.
const routingTimeout = 10 * time.Second

// Routing calls f with the connection for interfaces, addresses, routes and rules
// (rtnetlink(7)), which is the same for all of a run. No wait in it is longer than the
// context has left.
func (n *Namespace) Routing(ctx context.Context, f func(*netlink.Handle) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if n.routing == nil {
		err := n.Do(func() (err error) {
			// Without a family it would open sockets of all that it knows, of which one
			// fails where the kernel lacks xfrm_user.
			n.routing, err = netlink.NewHandle(unix.NETLINK_ROUTE)
			return err
		})
		if err != nil {
			return fmt.Errorf("failed to open a netlink socket: %w", err)
		}
	}
	timeout := routingTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, max(time.Until(deadline), time.Microsecond))
	}
	if err := n.routing.SetSocketTimeout(timeout); err != nil {
		return err
	}
	return f(n.routing)
}

// SetDial replaces how the socket of [Namespace.Netfilter] is opened, for tests with
// faults that a kernel cannot be made to produce.
func (n *Namespace) SetDial(dial func() (nfnetlink.Socket, error)) { n.dial = dial }

// List lists something by [Namespace.Routing], again where changes of others have
// interrupted the listing, which happens where many things change at once.
func List[T any](ctx context.Context, n *Namespace, list func(*netlink.Handle) ([]T, error)) (items []T, err error) {
	const attempts = 10
	for range attempts {
		err = n.Routing(ctx, func(h *netlink.Handle) (err error) {
			items, err = list(h)
			return err
		})
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return items, err
}
