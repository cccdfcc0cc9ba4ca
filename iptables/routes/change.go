package routes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
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
		err := ns.Routing(ctx, c.apply)
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
		err := ns.Routing(ctx, c.apply)
		if err != nil && !c.alreadyMade(err) {
			errs = append(errs, fmt.Errorf("failed to undo a change: %w", describe(c, err)))
		}
	}
	return errors.Join(errs...)
}

func (c Change) apply(h *netlink.Handle) error {
	switch c.Object.Kind {
	case Address:
		return c.applyAddress(h)
	case Route:
		return c.applyRoute(h)
	default:
		return c.applyRule(h)
	}
}

func (c Change) applyAddress(h *netlink.Handle) error {
	lo, err := h.LinkByName("lo")
	if err != nil {
		return err
	}
	p := c.Object.Prefix
	addr := &netlink.Addr{IPNet: &net.IPNet{
		IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
	}}
	if c.Action == Delete {
		return h.AddrDel(lo, addr)
	}
	// Nobody else can have an address of this machine's loopback, so it needs no
	// duplicate address detection (RFC 4862, section 5.4).
	addr.Flags = unix.IFA_F_NODAD
	return h.AddrAdd(lo, addr)
}

func (c Change) applyRoute(h *netlink.Handle) error {
	lo, err := h.LinkByName("lo")
	if err != nil {
		return err
	}
	o := c.Object
	zero := o.Family.Unspecified()
	route := &netlink.Route{
		Family:    netlinkFamily(o.Family),
		LinkIndex: lo.Attrs().Index,
		Type:      unix.RTN_LOCAL,
		Dst:       &net.IPNet{IP: zero.AsSlice(), Mask: net.CIDRMask(0, zero.BitLen())},
		Table:     int(o.Table),
		Protocol:  netlink.RouteProtocol(o.Protocol),
		Priority:  int(o.Priority),
	}
	if o.Family == iptables.IPv4 {
		// A route to the machine itself (ip-route(8), SCOPE). IPv6 has none.
		route.Scope = netlink.SCOPE_HOST
	}
	if c.Action == Delete {
		return h.RouteDel(route)
	}
	return h.RouteAdd(route)
}

func (c Change) applyRule(h *netlink.Handle) error {
	o := c.Object
	rule := netlink.NewRule()
	rule.Family = netlinkFamily(o.Family)
	rule.Mark, rule.Mask, rule.Table = o.Mark, &o.Mask, int(o.Table)
	rule.Protocol = o.Protocol
	if o.Priority != 0 {
		rule.Priority = int(o.Priority)
	}
	if c.Action == Delete {
		return h.RuleDel(rule)
	}
	return h.RuleAdd(rule)
}
