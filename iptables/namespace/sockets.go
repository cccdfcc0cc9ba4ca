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

// Netfilter returns the connection to the netfilter subsystems, the same one for the
// whole run. For tables that go with their socket, use [Namespace.DialNetfilter].
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

// DialNetfilter opens another connection to the netfilter subsystems. The caller closes
// it.
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

// ListenNetfilter opens a socket that receives a multicast group of the kernel (enum
// nfnetlink_groups, linux/netfilter/nfnetlink.h). The caller closes it.
func (n *Namespace) ListenNetfilter(group int) (s *nfnetlink.KernelSocket, err error) {
	err = n.Do(func() (err error) {
		s, err = nfnetlink.Dial(unix.NETLINK_NETFILTER)
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

// routingTimeout is how long to wait for a lost answer, unless the context ends earlier.
// A real kernel has its answer ready when it has read the request, so this is for other
// implementations.
const routingTimeout = 10 * time.Second

// Routing calls f with the connection for interfaces, addresses, routes and rules
// (rtnetlink(7)), the same one for the whole run. No wait on it outlasts the context.
func (n *Namespace) Routing(ctx context.Context, f func(*netlink.Handle) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if n.routing == nil {
		err := n.Do(func() (err error) {
			// Without a family it would open sockets of all families that it knows. One
			// of them fails if the kernel lacks xfrm_user.
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

// SetDial replaces the function that opens the socket of [Namespace.Netfilter], for tests
// of faults that no kernel can be made to produce.
func (n *Namespace) SetDial(dial func() (nfnetlink.Socket, error)) { n.dial = dial }

// List lists something over [Namespace.Routing]. It starts again if changes by others
// interrupt the listing, as happens when many things change at once.
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
