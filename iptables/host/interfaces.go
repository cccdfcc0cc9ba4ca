package host

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/rtnetlink"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// Interface is an interface of a network namespace.
type Interface struct {
	Name string
	// Up says that it is to have traffic. Some tunnels exist in every namespace and are down
	// (fb_tunnels_only_for_init_net in Documentation/admin-guide/sysctl/net.rst).
	Up bool
	// Virtual says that whatever is behind it is behind the namespace: it is a bridge, or the
	// tap of a virtual machine, and no port of another interface.
	Virtual bool
	// Uplink says that packets to other machines leave by it: a default route does.
	Uplink bool
}

// Interfaces returns the interfaces of a network namespace without loopback, in the kernel's
// order. Uplink is set in none; see [FindUplinks].
func Interfaces(ctx context.Context, ns *namespace.Namespace) ([]Interface, error) {
	links, err := links(ctx, ns)
	if err != nil {
		return nil, err
	}
	all := make([]Interface, len(links))
	for i, l := range links {
		all[i] = interfaceOf(l)
	}
	return all, nil
}

// FindUplinks is [Interfaces] with Uplink set. It reads the routes too.
func FindUplinks(ctx context.Context, ns *namespace.Namespace) ([]Interface, error) {
	links, err := links(ctx, ns)
	if err != nil {
		return nil, err
	}
	routes, _, err := rtnetlink.Routes(ctx, ns)
	if err != nil {
		return nil, fmt.Errorf("failed to list the default routes of the network namespace: %w", err)
	}
	all := make([]Interface, len(links))
	for i, l := range links {
		all[i] = interfaceOf(l)
		all[i].Uplink = slices.ContainsFunc(routes, func(r rtnetlink.Route) bool {
			return !r.To.IsValid() && r.Link == l.Index && r.Type == unix.RTN_UNICAST
		})
	}
	return all, nil
}

// links returns all interfaces but loopback.
func links(ctx context.Context, ns *namespace.Namespace) ([]rtnetlink.Link, error) {
	all, err := rtnetlink.Links(ctx, ns)
	if err != nil {
		return nil, fmt.Errorf("failed to list the interfaces of the network namespace: %w", err)
	}
	return slices.DeleteFunc(all, rtnetlink.Link.IsLoopback), nil
}

func interfaceOf(l rtnetlink.Link) Interface {
	// The driver of taps and tunnels is one (drivers/net/tun.c).
	serves := l.Kind == "bridge" || l.Kind == "tun" && l.HasFrames()
	return Interface{Name: l.Name, Up: l.IsUp(), Virtual: serves && l.Master == 0}
}

// NamesUp returns the names of the interfaces that are up.
func NamesUp(interfaces []Interface) []string {
	var names []string
	for _, i := range interfaces {
		if i.Up {
			names = append(names, i.Name)
		}
	}
	return names
}

// AddressesByName returns the addresses of each interface of a network namespace, in the
// kernel's order.
func AddressesByName(ctx context.Context, ns *namespace.Namespace) (map[string][]netip.Addr, error) {
	links, err := links(ctx, ns)
	if err != nil {
		return nil, err
	}
	addresses, err := rtnetlink.Addresses(ctx, ns, unix.AF_UNSPEC)
	if err != nil {
		return nil, fmt.Errorf("failed to list the addresses of the network namespace: %w", err)
	}
	all := make(map[string][]netip.Addr)
	for _, l := range links {
		for _, a := range addresses {
			if a.Link == l.Index {
				all[l.Name] = append(all[l.Name], a.Prefix.Addr())
			}
		}
	}
	return all, nil
}

// RedirectedTo returns the address to which REDIRECT sends what comes in by an interface with
// these addresses: the first of the family. In IPv6, a link-local one is for packets to such
// addresses (net/netfilter/nf_nat_redirect.c). It is not valid if there is none; then REDIRECT
// drops the packet.
func RedirectedTo(addresses []netip.Addr, f iptables.Family) netip.Addr {
	for _, a := range addresses {
		if iptables.FamilyOf(a) == f && (a.Is4() || !a.IsLinkLocalUnicast()) {
			return a
		}
	}
	return netip.Addr{}
}
