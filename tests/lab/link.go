package lab

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// end is one end of a pair of interfaces.
type end struct {
	in   *Namespace
	name string
	addr Addr
}

// join makes a pair of interfaces, with addresses and up.
func join(a, b end) error {
	err := a.in.Do(func() error {
		pair := netlink.NewVeth(netlink.LinkAttrs{Name: a.name, TxQLen: -1})
		pair.PeerName, pair.PeerNamespace = b.name, netlink.NsFd(b.in.handle)
		return netlink.LinkAdd(pair)
	})
	if err != nil {
		return fmt.Errorf("failed to join %s of %s and %s of %s: %w", a.name, a.in.name, b.name, b.in.name, err)
	}
	// If an interface comes up while its peer is down, its IPv6 addresses are ready only
	// a second or two later. So both come up before either gets any.
	for _, e := range []end{a, b} {
		if err := e.in.bringUp(e.name); err != nil {
			return err
		}
	}
	for _, e := range []end{a, b} {
		if err := e.in.addAddrs(e.name, e.addr.prefixes()); err != nil {
			return err
		}
		for _, p := range e.addr.prefixes() {
			if err := e.in.awaitLocal(p.Addr()); err != nil {
				return err
			}
		}
	}
	return nil
}

// addLoopback gives lo more addresses, each a network of its own.
func (n *Namespace) addLoopback(addrs ...Addr) error {
	var single []netip.Prefix
	for _, a := range addrs {
		single = append(single, ofFamilies(netip.PrefixFrom(a.V4, 32), netip.PrefixFrom(a.V6, 128))...)
	}
	return n.addAddrs("lo", single)
}

func (n *Namespace) bringUp(name string) error {
	return n.withLink(name, func(link netlink.Link) error {
		if err := netlink.LinkSetUp(link); err != nil {
			return fmt.Errorf("failed to bring up %s in %s: %w", name, n.name, err)
		}
		return nil
	})
}

// addAddrs gives an interface addresses that work at once, without duplicate
// address detection.
func (n *Namespace) addAddrs(name string, addrs []netip.Prefix) error {
	return n.withLink(name, func(link netlink.Link) error {
		for _, a := range addrs {
			add := &netlink.Addr{IPNet: ipNet(a)}
			if a.Addr().Is6() {
				add.Flags = unix.IFA_F_NODAD
			}
			if err := netlink.AddrAdd(link, add); err != nil {
				return fmt.Errorf("failed to give %s of %s address %s: %w", name, n.name, a, err)
			}
		}
		return nil
	})
}

// awaitLocal waits until the namespace takes connections to its own address: of IPv6 the
// kernel makes the local route some time after the address (addrconf_dad_work in
// net/ipv6/addrconf.c).
func (n *Namespace) awaitLocal(a netip.Addr) error {
	return n.Do(func() error {
		deadline := time.Now().Add(10 * time.Second)
		for {
			routes, err := netlink.RouteGet(a.AsSlice())
			switch {
			case err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL:
				return nil
			case time.Now().After(deadline):
				return fmt.Errorf("%s has no local route to %s: %v, %v", n.name, a, routes, err)
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
}

func (n *Namespace) withLink(name string, f func(netlink.Link) error) error {
	return n.Do(func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("failed to find %s in %s: %w", name, n.name, err)
		}
		return f(link)
	})
}

func (n *Namespace) addDefaultRoute(via Addr) error {
	return n.addRoute(ofFamilies(
		netip.PrefixFrom(netip.IPv4Unspecified(), 0),
		netip.PrefixFrom(netip.IPv6Unspecified(), 0),
	), via)
}

// addRoute adds a route to each network by the gateway of its family.
func (n *Namespace) addRoute(to []netip.Prefix, via Addr) error {
	return n.Do(func() error {
		for _, network := range to {
			gateway := via.V4
			if network.Addr().Is6() {
				gateway = via.V6
			}
			route := &netlink.Route{Dst: ipNet(network.Masked()), Gw: gateway.AsSlice()}
			if err := netlink.RouteAdd(route); err != nil {
				return fmt.Errorf("failed to route %s by %s in %s: %w", network, gateway, n.name, err)
			}
		}
		return nil
	})
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
