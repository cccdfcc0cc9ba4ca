package probe

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/rtnetlink"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// outside is a network namespace joined to the probed one by a pair of interfaces:
// packets from a machine to itself enter mangle PREROUTING by lo only, and nat PREROUTING
// not at all.
//
// Only this process holds it. However that ends, the kernel then removes it and both
// interfaces.
type outside struct {
	here, ns *namespace.Namespace
	link     uint32 // the index of the near end, or 0
}

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
// links, which share one name. It takes CAP_SYS_ADMIN and CAP_NET_ADMIN.
func openOutside(ctx context.Context, here *namespace.Namespace, links []linkOutside) (*outside, error) {
	there, err := namespace.New()
	if errors.Is(err, unix.EPERM) {
		return nil, outsideError{fmt.Errorf("connecting from outside takes a second network namespace, and so CAP_SYS_ADMIN: %w", unix.EPERM)}
	}
	if err != nil {
		return nil, outsideError{err}
	}
	o := &outside{here: here, ns: there}
	if err := o.join(ctx, links); err != nil {
		o.close()
		return nil, outsideError{err}
	}
	return o, nil
}

func (o *outside) close() {
	if o == nil {
		return
	}
	if o.link != 0 {
		// If it fails, the end of the namespace removes it.
		_ = rtnetlink.DeleteLink(context.Background(), o.here, o.link)
	}
	_ = o.ns.Close()
}

// join makes the pair of interfaces.
func (o *outside) join(ctx context.Context, links []linkOutside) error {
	name := links[0].name
	other, err := o.ns.File()
	if err != nil {
		return err
	}
	if err := rtnetlink.AddPair(ctx, o.here, name, other); err != nil {
		return noPair(err)
	}
	near, err := rtnetlink.LinkByName(ctx, o.here, name)
	if err != nil {
		return fmt.Errorf("failed to find %s: %w", name, err)
	}
	o.link = near.Index
	far, err := rtnetlink.LinkByName(ctx, o.ns, name)
	if err != nil {
		return fmt.Errorf("failed to find %s outside: %w", name, err)
	}
	// IPv6 waits long for an interface that comes up while its peer is down, so both come
	// up before either gets an address.
	if err := errors.Join(rtnetlink.SetUp(ctx, o.ns, far.Index), rtnetlink.SetUp(ctx, o.here, near.Index)); err != nil {
		return fmt.Errorf("failed to bring up %s: %w", name, err)
	}
	if err := operational(ctx, o.ns, name); err != nil {
		return err
	}
	for _, l := range links {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := o.address(ctx, l, far.Index); err != nil {
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
func operational(ctx context.Context, ns *namespace.Namespace, name string) error {
	notUp := fmt.Errorf("%s did not come up outside in %s", name, settleTime)
	ctx, cancel := context.WithTimeoutCause(ctx, settleTime, notUp)
	defer cancel()
	for {
		switch link, err := rtnetlink.LinkByName(ctx, ns, name); {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return fmt.Errorf("failed to look at %s outside: %w", name, err)
		case link.IsOperational():
			return nil
		}
		if pause(ctx) != nil {
			return context.Cause(ctx)
		}
	}
}

// address gives both ends an address, and the far end a default route.
func (o *outside) address(ctx context.Context, l linkOutside, far uint32) error {
	if err := rtnetlink.AddAddress(ctx, o.here, address(o.link, l.near)); err != nil {
		return err
	}
	if err := rtnetlink.AddAddress(ctx, o.ns, address(far, l.far)); err != nil {
		return err
	}
	return rtnetlink.AddRoute(ctx, o.ns, rtnetlink.Route{
		Family: rtnetlink.FamilyOf(l.far), Type: unix.RTN_UNICAST, Table: unix.RT_TABLE_MAIN,
		Protocol: unix.RTPROT_BOOT, Link: far, Gateway: l.near,
	})
}

// address returns an address in a network of two. It works at once, without duplicate
// address detection.
func address(link uint32, a netip.Addr) rtnetlink.Address {
	address := rtnetlink.Address{Link: link, Prefix: netip.PrefixFrom(a, a.BitLen()-1)}
	if a.Is6() {
		address.Flags = unix.IFA_F_NODAD
	}
	return address
}
