package routes

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/rtnetlink"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// Action is what a [Change] does.
type Action string

// The actions, in the words of ip(8).
const (
	Add    Action = "add"
	Delete Action = "del"
)

// Change adds or deletes one object.
type Change struct {
	Action Action
	Object Object
}

// String returns the command that makes the change, such as
// "ip -6 rule add fwmark 0x539 lookup 133 protocol 109".
func (c Change) String() string { return c.Object.command(string(c.Action)) }

func (c Change) inverse() Change {
	if c.Action == Add {
		return Change{Delete, c.Object}
	}
	return Change{Add, c.Object}
}

// Changes are made in order.
type Changes []Change

// Additions returns the changes that add something.
func (cs Changes) Additions() Changes { return cs.only(Add) }

// Removals returns the changes that delete something.
func (cs Changes) Removals() Changes { return cs.only(Delete) }

func (cs Changes) only(a Action) Changes {
	return slices.DeleteFunc(slices.Clone(cs), func(c Change) bool { return c.Action != a })
}

// Apply makes all changes or, if one fails, undoes those before it. The error says so if
// that fails too.
func (cs Changes) Apply(ctx context.Context, ns *namespace.Namespace) error {
	var done Changes
	for _, c := range cs {
		err := c.apply(ctx, ns)
		switch {
		case err == nil:
			done = append(done, c)
		case c.alreadyMade(err):
			// Somebody else did it after we looked: not ours to undo.
		default:
			return errors.Join(describe(c, err), done.Undo(context.WithoutCancel(ctx), ns))
		}
	}
	return nil
}

// Undo undoes changes, the last one first. It goes on if one fails and returns all
// errors.
func (cs Changes) Undo(ctx context.Context, ns *namespace.Namespace) error {
	var errs []error
	for _, c := range slices.Backward(cs) {
		c = c.inverse()
		err := c.apply(ctx, ns)
		if err != nil && !c.alreadyMade(err) {
			errs = append(errs, fmt.Errorf("failed to undo a change: %w", describe(c, err)))
		}
	}
	return errors.Join(errs...)
}

func (c Change) apply(ctx context.Context, ns *namespace.Namespace) error {
	switch o := c.Object; o.Kind {
	case Address:
		// Nobody else can have an address of this machine's loopback, so it needs no
		// duplicate address detection (RFC 4862, section 5.4).
		return change(ctx, ns, c.Action, rtnetlink.AddAddress, rtnetlink.DeleteAddress, rtnetlink.Address{
			Link: rtnetlink.LoopbackIndex, Prefix: o.Prefix, Flags: unix.IFA_F_NODAD,
		})
	case Route:
		return change(ctx, ns, c.Action, rtnetlink.AddRoute, rtnetlink.DeleteRoute, o.route())
	default:
		return change(ctx, ns, c.Action, rtnetlink.AddRule, rtnetlink.DeleteRule, rtnetlink.Rule{
			Family: netlinkFamily(o.Family), Priority: o.Priority, Mark: o.Mark, Mask: o.Mask, To: o.Prefix, In: o.In,
			Table: o.Table, Action: unix.FR_ACT_TO_TBL, Protocol: o.Protocol,
		})
	}
}

// change makes a change by the function for its action.
func change[T any](
	ctx context.Context, ns *namespace.Namespace, a Action,
	add, del func(context.Context, *namespace.Namespace, T) error, object T,
) error {
	if a == Delete {
		return del(ctx, ns, object)
	}
	return add(ctx, ns, object)
}

// route returns what a Route is to the kernel.
func (o Object) route() rtnetlink.Route {
	r := rtnetlink.Route{
		Family: netlinkFamily(o.Family), Type: unix.RTN_LOCAL, Table: o.Table, Protocol: o.Protocol,
		Priority: o.Priority, Link: rtnetlink.LoopbackIndex,
	}
	switch {
	case o.Prefix.IsValid():
		r.Type, r.To, r.Scope = unix.RTN_UNICAST, o.Prefix.Addr(), unix.RT_SCOPE_LINK
	case o.Family == iptables.IPv4:
		// A route to the machine itself (ip-route(8), SCOPE). IPv6 has none.
		r.Scope = unix.RT_SCOPE_HOST
	}
	return r
}
