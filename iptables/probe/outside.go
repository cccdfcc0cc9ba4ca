package probe

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
)

// outside is a network namespace joined to the probed one by a pair of interfaces:
// packets from a machine to itself enter mangle PREROUTING by lo only, and nat PREROUTING
// not at all.
//
// Only this process holds it. However that ends, the kernel then removes it and both
// interfaces.
type outside struct {
	here, there netns.NsHandle
	link        netlink.Link // the near end
}

// errThread is wrapped if the thread is left in the wrong namespace.
var errThread = errors.New("the thread cannot go back to its network namespace")

// outsideError is why nobody can connect from outside. It says nothing about the rules.
type outsideError struct{ err error }

func (e outsideError) Error() string { return e.err.Error() }
func (e outsideError) Unwrap() error { return e.err }

// outsideName returns an unused name for the near interface.
func outsideName() string {
	var b [5]byte
	_, _ = unix.Getrandom(b[:], 0)
	return "probe" + hex.EncodeToString(b[:])
}

// linkOutside is the pair of interfaces for one family.
type linkOutside struct {
	name      string // that of both
	near, far netip.Addr
}

// linksOutside returns the links to choose from: rules may leave some clients alone. Both
// ends have addresses that nobody else has, in networks of only the two (RFC 3021, RFC
// 6164).
func linksOutside(name string, f iptables.Family) []linkOutside {
	var all []linkOutside
	for _, network := range documentation(f) {
		near := network.Addr().AsSlice()
		near[len(near)-1] = 0xfe
		a, _ := netip.AddrFromSlice(near)
		all = append(all, linkOutside{name, a, a.Next()})
	}
	return all
}

// received returns the packet that comes in by the link for an address.
func (l linkOutside) received(to netip.AddrPort) iptables.Packet {
	return iptables.Packet{
		Hook: iptables.Prerouting, In: l.name, Source: l.far, SourcePort: ephemeral,
		Destination: to.Addr(), DestinationPort: to.Port(),
	}
}

// openOutside makes the namespace, and a pair of interfaces with the addresses of all
// links, which share one name. It takes CAP_SYS_ADMIN and CAP_NET_ADMIN. The error wraps
// errThread if the calling thread, which must be locked, cannot be used any more, and is
// an outsideError otherwise.
func openOutside(ctx context.Context, links []linkOutside) (*outside, error) {
	here, err := netns.Get()
	if err != nil {
		return nil, err
	}
	o := &outside{here: here, there: netns.None()}
	// Making it moves the thread there.
	there, err := netns.New()
	if errors.Is(err, unix.EPERM) {
		o.close()
		return nil, outsideError{fmt.Errorf("connecting from outside takes a second network namespace, and so CAP_SYS_ADMIN: %w", err)}
	}
	o.there = there
	if backErr := o.back(); err == nil || backErr != nil {
		err = backErr
	}
	if err == nil {
		err = o.join(ctx, links)
	}
	if err != nil {
		o.close()
		if !errors.Is(err, errThread) {
			err = outsideError{err}
		}
		return nil, err
	}
	return o, nil
}

func (o *outside) back() error {
	if err := netns.Set(o.here); err != nil {
		return fmt.Errorf("%w: %w", errThread, err)
	}
	return nil
}

// do calls f outside.
func (o *outside) do(f func() error) error {
	if err := netns.Set(o.there); err != nil {
		return err
	}
	return errors.Join(f(), o.back())
}

func (o *outside) close() {
	if o == nil {
		return
	}
	if o.link != nil {
		// If it fails, the end of the namespace removes it.
		_ = netlink.LinkDel(o.link)
	}
	o.there.Close()
	o.here.Close()
}

// join makes the pair of interfaces.
func (o *outside) join(ctx context.Context, links []linkOutside) error {
	name := links[0].name
	pair := netlink.NewVeth(netlink.LinkAttrs{Name: name, TxQLen: -1})
	pair.PeerName, pair.PeerNamespace = name, netlink.NsFd(o.there)
	if err := netlink.LinkAdd(pair); err != nil {
		return noPair(err)
	}
	o.link = pair
	// Without a family it would open sockets of all families that it knows. One of them
	// fails if the kernel lacks xfrm_user.
	far, err := netlink.NewHandleAt(o.there, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("failed to open a netlink socket outside: %w", err)
	}
	defer far.Close()
	near, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("failed to open a netlink socket: %w", err)
	}
	defer near.Close()
	farLink, err := far.LinkByName(name)
	if err != nil {
		return fmt.Errorf("failed to find %s outside: %w", name, err)
	}
	// IPv6 waits long for an interface that comes up while its peer is down, so both come
	// up before either gets an address.
	if err := errors.Join(far.LinkSetUp(farLink), near.LinkSetUp(pair)); err != nil {
		return fmt.Errorf("failed to bring up %s: %w", name, err)
	}
	if err := operational(ctx, far, name); err != nil {
		return err
	}
	for _, l := range links {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := l.address(near, far, o.link, farLink); err != nil {
			return fmt.Errorf("failed to give %s the addresses %s and %s: %w", name, l.near, l.far, err)
		}
	}
	return nil
}

// noPair returns why there is no pair of interfaces. EOPNOTSUPP is for a kind of
// interface that the kernel does not know and has no module for (__rtnl_newlink in
// net/core/rtnetlink.c).
func noPair(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("making a pair of interfaces takes CAP_NET_ADMIN: %w", err)
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("making a pair of interfaces takes the kernel module veth (CONFIG_VETH), which is missing: %w", err)
	}
	return fmt.Errorf("failed to make a pair of interfaces: %w", err)
}

// operational waits until packets leave an interface whose peer has come up: the kernel
// may start its queue seconds later (linkwatch_event in net/core/link_watch.c), and
// packets sent before that are lost. The peer, which found it up, needs no such wait.
func operational(ctx context.Context, at *netlink.Handle, name string) error {
	notUp := fmt.Errorf("%s did not come up outside in %s", name, settleTime)
	ctx, cancel := context.WithTimeoutCause(ctx, settleTime, notUp)
	defer cancel()
	for {
		link, err := at.LinkByName(name)
		if err != nil {
			return fmt.Errorf("failed to look at %s outside: %w", name, err)
		}
		if link.Attrs().OperState == netlink.OperUp {
			return nil
		}
		if pause(ctx) != nil {
			return context.Cause(ctx)
		}
	}
}

// address gives both ends an address, and the far end a default route.
func (l linkOutside) address(near, far *netlink.Handle, nearLink, farLink netlink.Link) error {
	if err := near.AddrAdd(nearLink, address(l.near)); err != nil {
		return err
	}
	if err := far.AddrAdd(farLink, address(l.far)); err != nil {
		return err
	}
	f := iptables.FamilyOf(l.far)
	everywhere := &net.IPNet{IP: f.Unspecified().AsSlice(), Mask: net.CIDRMask(0, f.Unspecified().BitLen())}
	return far.RouteAdd(&netlink.Route{
		LinkIndex: farLink.Attrs().Index, Dst: everywhere, Gw: l.near.AsSlice(),
	})
}

// address returns an address in a network of two. It works at once, without duplicate
// address detection.
func address(a netip.Addr) *netlink.Addr {
	n := &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen()-1, a.BitLen())}}
	if a.Is6() {
		n.Flags = unix.IFA_F_NODAD
	}
	return n
}
