package namespace

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables/internal/netlink"
)

func dialNetfilter() (netlink.Socket, error) { return netlink.Dial(unix.NETLINK_NETFILTER) }
func dialRouting() (netlink.Socket, error)   { return netlink.Dial(unix.NETLINK_ROUTE) }

// Netfilter returns the connection to the netfilter subsystems, the same one for the
// whole run. For tables that go with their socket, use [Namespace.DialNetfilter].
func (n *Namespace) Netfilter() (*netlink.Conn, error) { return n.keep(&n.netfilter, n.dial) }

// Routing returns the connection for interfaces, addresses, routes and rules
// (rtnetlink(7)), the same one for the whole run.
func (n *Namespace) Routing() (*netlink.Conn, error) { return n.keep(&n.routing, dialRouting) }

// keep returns the kept connection. It opens another one if there is none yet, or if that
// cannot be used any more.
func (n *Namespace) keep(kept **netlink.Conn, dial func() (netlink.Socket, error)) (*netlink.Conn, error) {
	if *kept != nil && !(*kept).Broken() {
		return *kept, nil
	}
	if *kept != nil {
		_ = (*kept).Close()
		*kept = nil
	}
	c, err := n.open(dial)
	if err != nil {
		return nil, err
	}
	*kept = c
	return c, nil
}

// DialNetfilter opens another connection to the netfilter subsystems. The caller closes
// it.
func (n *Namespace) DialNetfilter() (*netlink.Conn, error) { return n.open(n.dial) }

func (n *Namespace) open(dial func() (netlink.Socket, error)) (*netlink.Conn, error) {
	var s netlink.Socket
	err := n.Do(func() (err error) {
		s, err = dial()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("failed to open a netlink socket: %w", err)
	}
	return netlink.NewConn(s), nil
}

// ListenNetfilter opens a socket that receives a multicast group of the kernel (enum
// nfnetlink_groups, linux/netfilter/nfnetlink.h). The caller closes it.
func (n *Namespace) ListenNetfilter(group int) (*netlink.KernelSocket, error) {
	return n.listen(unix.NETLINK_NETFILTER, group)
}

// ListenRouting is ListenNetfilter for groups of rtnetlink (enum rtnetlink_groups,
// linux/rtnetlink.h).
func (n *Namespace) ListenRouting(groups ...int) (*netlink.KernelSocket, error) {
	return n.listen(unix.NETLINK_ROUTE, groups...)
}

func (n *Namespace) listen(family int, groups ...int) (s *netlink.KernelSocket, err error) {
	err = n.Do(func() (err error) {
		s, err = netlink.Dial(family)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("failed to open a netlink socket: %w", err)
	}
	for _, group := range groups {
		if err := s.Join(group); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// SetDial replaces the function that opens the socket of [Namespace.Netfilter], for tests
// of faults that no kernel can be made to produce.
func (n *Namespace) SetDial(dial func() (netlink.Socket, error)) { n.dial = dial }
