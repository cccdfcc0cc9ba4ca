// Package rtnetlink reads and changes interfaces, addresses, routes and policy rules
// (rtnetlink(7)), as far as the program needs them. Errors do not say what failed.
//
// github.com/vishvananda/netlink knows every kind of interface and of route, which links
// half a megabyte. github.com/jsimonetti/rtnetlink cannot read a rule with an attribute
// that it does not know, where we have to see that such a rule asks for more than a mark.
package rtnetlink

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// The flags of requests that make and that delete something.
const (
	create = unix.NLM_F_CREATE | unix.NLM_F_EXCL
	remove = 0
)

// LoopbackIndex is the index of the loopback interface in every network namespace
// (LOOPBACK_IFINDEX in include/net/flow.h of the kernel).
const LoopbackIndex = 1

var errChanged = errors.New("another program keeps changing them")

// decoder reads a message by its header and its attributes. It is not ok if the message
// is about nothing that matters.
type decoder[T any] func(header, attributes []byte) (item T, ok bool)

// list lists something that is told in messages of the type kind. It starts again if
// changes by others interrupt the listing, as happens when many things change at once.
func list[T any](ctx context.Context, ns *namespace.Namespace, r netlink.Request, kind uint16, decode decoder[T]) ([]T, error) {
	return listAfter(ctx, ns, nil, nil, r, kind, decode)
}

// listAfter is list after questions; see [netlink.Conn.DumpAfter]. It may ask them again.
func listAfter[T any](ctx context.Context, ns *namespace.Namespace, questions []netlink.Request, answered func(int, netlink.Message, error) error,
	r netlink.Request, kind uint16, decode decoder[T]) ([]T, error) {
	const attempts = 10
	for range attempts {
		c, err := connect(ctx, ns)
		if err != nil {
			return nil, err
		}
		var items []T
		err = c.DumpAfter(ctx, questions, answered, r, func(m netlink.Message) {
			if item, ok := decoded(m, r, decode); ok && m.Kind == kind {
				items = append(items, item)
			}
		})
		if !errors.Is(err, netlink.ErrChanged) {
			return items, netlink.Reason(err)
		}
	}
	return nil, errChanged
}

// decoded returns what a message says that answers a request.
func decoded[T any](m netlink.Message, r netlink.Request, decode decoder[T]) (item T, ok bool) {
	header, attributes, ok := m.Split(len(r.Header))
	if !ok {
		return item, false
	}
	return decode(header, attributes)
}

// ask returns what the kernel answers to a request.
func ask[T any](ctx context.Context, ns *namespace.Namespace, r netlink.Request, decode decoder[T]) (item T, err error) {
	c, err := connect(ctx, ns)
	if err != nil {
		return item, err
	}
	m, err := c.Ask(ctx, r)
	if err != nil {
		return item, netlink.Reason(err)
	}
	item, ok := decoded(m, r, decode)
	if !ok {
		return item, errors.New("the kernel's answer is malformed")
	}
	return item, nil
}

// tell makes a change.
func tell(ctx context.Context, ns *namespace.Namespace, r netlink.Request) error {
	c, err := connect(ctx, ns)
	if err != nil {
		return err
	}
	return netlink.Reason(c.Tell(ctx, r))
}

// connect fails if the context has ended.
func connect(ctx context.Context, ns *namespace.Namespace) (*netlink.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return ns.Routing()
}
