package probe

import (
	"context"
	"crypto/rand"
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

// outside is a network namespace beside the one that is probed, joined to it by a
// pair of interfaces: packets of a machine to itself enter mangle PREROUTING by
// lo only, and nat PREROUTING not at all.
//
// Nothing but this process holds it. When that ends, however it does, the kernel
// removes it and both interfaces.
type outside struct {
	here, there netns.NsHandle
	link        netlink.Link // the near end
}

// errThread is wrapped where the thread is left in the wrong namespace.
var errThread = errors.New("the thread cannot go back to its network namespace")

// outsideName returns a name for the near interface that nobody has.
func outsideName() string {
	var b [5]byte
	_, _ = rand.Read(b[:])
	return "probe" + hex.EncodeToString(b[:])
}

// The two ends have addresses for documentation (RFC 5737, RFC 3849), in networks
// of just the two (RFC 3021, RFC 6164).
func insideAddress(f iptables.Family) netip.Addr {
	if f == iptables.IPv6 {
		return netip.MustParseAddr("2001:db8::fe")
	}
	return netip.MustParseAddr("192.0.2.254")
}

func outsideAddress(f iptables.Family) netip.Addr { return insideAddress(f).Next() }

// openOutside makes the namespace, and interfaces of that name here and there. It
// takes CAP_SYS_ADMIN and CAP_NET_ADMIN. The error wraps errThread where the
// calling thread, which must be locked, cannot be used any more.
func openOutside(ctx context.Context, name string, families []iptables.Family) (*outside, error) {
	here, err := netns.Get()
	if err != nil {
		return nil, err
	}
	o := &outside{here: here, there: netns.None()}
	// Making it moves the thread there.
	there, err := netns.New()
	if errors.Is(err, unix.EPERM) {
		o.close()
		return nil, fmt.Errorf("coming in from outside takes a network namespace beside this one, and so CAP_SYS_ADMIN: %w", err)
	}
	o.there = there
	if backErr := o.back(); err == nil || backErr != nil {
		err = backErr
	}
	if err == nil {
		err = o.join(ctx, name, families)
	}
	if err != nil {
		o.close()
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
		// Where it fails, the end of the namespace removes it.
		_ = netlink.LinkDel(o.link)
	}
	o.there.Close()
	o.here.Close()
}

// join makes the pair of interfaces.
func (o *outside) join(ctx context.Context, name string, families []iptables.Family) error {
	pair := netlink.NewVeth(netlink.LinkAttrs{Name: name, TxQLen: -1})
	pair.PeerName, pair.PeerNamespace = name, netlink.NsFd(o.there)
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("failed to make a pair of interfaces: %w", err)
	}
	o.link = pair
	far, err := netlink.NewHandleAt(o.there)
	if err != nil {
		return err
	}
	defer far.Close()
	near, err := netlink.NewHandle()
	if err != nil {
		return err
	}
	defer near.Close()
	farLink, err := far.LinkByName(name)
	if err != nil {
		return fmt.Errorf("failed to find %s outside: %w", name, err)
	}
	// IPv6 waits long for an interface that comes up while its peer is down, so
	// both come up before either has an address.
	if err := errors.Join(far.LinkSetUp(farLink), near.LinkSetUp(pair)); err != nil {
		return fmt.Errorf("failed to bring up %s: %w", name, err)
	}
	for _, f := range families {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := o.address(near, far, farLink, f); err != nil {
			return fmt.Errorf("failed to give %s %s addresses: %w", name, f, err)
		}
	}
	return nil
}

// address gives both ends an address, and the far one a route to everywhere.
func (o *outside) address(near, far *netlink.Handle, farLink netlink.Link, f iptables.Family) error {
	if err := near.AddrAdd(o.link, address(insideAddress(f))); err != nil {
		return err
	}
	if err := far.AddrAdd(farLink, address(outsideAddress(f))); err != nil {
		return err
	}
	everywhere := &net.IPNet{IP: f.Unspecified().AsSlice(), Mask: net.CIDRMask(0, f.Unspecified().BitLen())}
	return far.RouteAdd(&netlink.Route{
		LinkIndex: farLink.Attrs().Index, Dst: everywhere, Gw: insideAddress(f).AsSlice(),
	})
}

// address returns an address in a network of two, which works at once, without
// duplicate address detection.
func address(a netip.Addr) *netlink.Addr {
	n := &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen()-1, a.BitLen())}}
	if a.Is6() {
		n.Flags = unix.IFA_F_NODAD
	}
	return n
}
