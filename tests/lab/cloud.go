package lab

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What a node's plugin (amazon-vpc-cni-k8s, "strict" mode) makes for a pod with an interface of
// its own: a table for what comes from the pod and for what comes for it, before the rule about
// this machine's own addresses.
const (
	PodTable      = 101
	PodRule       = 10
	afterPodRules = 20
)

// routeByTable routes what comes from the pod to the cloud, and what comes for it by the cloud to
// the pod. What the node itself sends to the pod goes to the cloud.
func (n *Namespace) routeByTable() error {
	return n.Do(func() error {
		eth0, trunk, err := links("eth0", "trunk0")
		if err != nil {
			return err
		}
		for _, f := range Families() {
			family := netlinkFamily(f)
			pod, connected := single(PodAddr.In(f)), ipNet(prefixOf(PodAddr, f))
			for _, change := range []func() error{
				func() error {
					return netlink.RouteDel(&netlink.Route{Dst: connected, LinkIndex: eth0, Scope: scope(f), Table: unix.RT_TABLE_MAIN})
				},
				func() error {
					return netlink.RouteAdd(&netlink.Route{Dst: ipNet(single(PodAddr.In(f))), Gw: FarAddr.In(f).AsSlice()})
				},
				func() error {
					return netlink.RouteAdd(&netlink.Route{Dst: ipNet(pod), LinkIndex: eth0, Scope: netlink.SCOPE_LINK, Table: PodTable})
				},
				func() error {
					return netlink.RouteAdd(&netlink.Route{Dst: ipNet(everywhere(f)), Gw: BranchAddr.In(f).AsSlice(), LinkIndex: trunk, Table: PodTable})
				},
				func() error {
					return addRule(family, func(r *netlink.Rule) { r.Priority, r.Table = afterPodRules, unix.RT_TABLE_LOCAL })
				},
				func() error {
					first := netlink.NewRule()
					first.Family, first.Priority, first.Table = family, 0, unix.RT_TABLE_LOCAL
					return netlink.RuleDel(first)
				},
				func() error {
					return addRule(family, func(r *netlink.Rule) { r.Priority, r.Table, r.IifName = PodRule, PodTable, "eth0" })
				},
				func() error {
					return addRule(family, func(r *netlink.Rule) { r.Priority, r.Table, r.IifName = PodRule, PodTable, "trunk0" })
				},
			} {
				if err := change(); err != nil {
					return fmt.Errorf("failed to route by a table of the pod's own, %s: %w", f, err)
				}
			}
		}
		return nil
	})
}

// routeByCloud routes to the pod by its interface, and drops what comes from elsewhere.
func (n *Namespace) routeByCloud() error {
	return n.Do(func() error {
		for _, f := range Families() {
			if err := netlink.RouteAdd(&netlink.Route{Dst: ipNet(single(PodAddr.In(f))), Gw: TrunkAddr.In(f).AsSlice()}); err != nil {
				return fmt.Errorf("failed to route to the pod: %w", err)
			}
		}
		for _, foreign := range ofFamilies(netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("fd16::/16")) {
			family := netlink.FAMILY_V4
			if foreign.Addr().Is6() {
				family = netlink.FAMILY_V6
			}
			err := addRule(family, func(r *netlink.Rule) { r.Priority, r.Src, r.Type = 1, ipNet(foreign), unix.FR_ACT_BLACKHOLE })
			if err != nil {
				return fmt.Errorf("failed to drop what comes from %s: %w", foreign, err)
			}
		}
		return nil
	})
}

// know makes known that an address, by an interface, is that of an interface of another.
func (n *Namespace) know(a Addr, by string, other *Namespace, name string) error {
	var hardware net.HardwareAddr
	err := other.withLink(name, func(link netlink.Link) error {
		hardware = link.Attrs().HardwareAddr
		return nil
	})
	if err != nil {
		return err
	}
	return n.withLink(by, func(link netlink.Link) error {
		for _, f := range Families() {
			known := &netlink.Neigh{LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT, IP: a.In(f).AsSlice(), HardwareAddr: hardware}
			if err := netlink.NeighSet(known); err != nil {
				return fmt.Errorf("failed to make %s known: %w", a.In(f), err)
			}
		}
		return nil
	})
}

func links(a, b string) (int, int, error) {
	first, err := netlink.LinkByName(a)
	if err != nil {
		return 0, 0, err
	}
	second, err := netlink.LinkByName(b)
	if err != nil {
		return 0, 0, err
	}
	return first.Attrs().Index, second.Attrs().Index, nil
}

func addRule(family int, set func(*netlink.Rule)) error {
	r := netlink.NewRule()
	r.Family = family
	set(r)
	return netlink.RuleAdd(r)
}

func netlinkFamily(f Family) int {
	if f == IPv6 {
		return netlink.FAMILY_V6
	}
	return netlink.FAMILY_V4
}

// scope is that of a connected route.
func scope(f Family) netlink.Scope {
	if f == IPv6 {
		return netlink.SCOPE_UNIVERSE
	}
	return netlink.SCOPE_LINK
}

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func everywhere(f Family) netip.Prefix {
	if f == IPv6 {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
}

// prefixOf returns the network of an address.
func prefixOf(a Addr, f Family) netip.Prefix {
	for _, p := range a.prefixes() {
		if p.Addr() == a.In(f) {
			return p.Masked()
		}
	}
	return netip.Prefix{}
}
