package host

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

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
