// Package host reads what a plan needs to know about a namespace: its
// addresses, its name servers, and its users and groups.
//
// It needs no privilege and changes nothing.
package host

import (
	"context"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables/internal/rtnetlink"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// Host is what we know about a network namespace and its root file system.
type Host struct {
	// Addresses are the addresses of all interfaces, with prefix lengths.
	Addresses []netip.Prefix
	// NameServers are the servers of resolv.conf, in its order.
	NameServers []netip.Addr
	// Interfaces are those that [Interfaces] returns, if the plan depends on them.
	Interfaces []Interface
	// Kernel is the version of the running kernel.
	Kernel Version
}

// Discover returns the addresses of all interfaces of a network namespace, in the
// kernel's order, and the name servers in the file resolvConf, such as [ResolvConf]. If
// the file is missing, there are none.
func Discover(ctx context.Context, ns *namespace.Namespace, resolvConf File) (Host, error) {
	addresses, err := Addresses(ctx, ns)
	if err != nil {
		return Host{}, err
	}
	servers, err := nameServers(resolvConf)
	if err != nil {
		return Host{}, err
	}
	return Host{Addresses: addresses, NameServers: servers, Kernel: KernelVersion()}, nil
}

// Addresses returns the addresses of all interfaces of a network namespace, with
// prefix lengths, in the kernel's order.
func Addresses(ctx context.Context, ns *namespace.Namespace) ([]netip.Prefix, error) {
	addresses, err := rtnetlink.Addresses(ctx, ns, unix.AF_UNSPEC)
	if err != nil {
		return nil, fmt.Errorf("failed to list the addresses of the network namespace: %w", err)
	}
	prefixes := make([]netip.Prefix, len(addresses))
	for i, a := range addresses {
		prefixes[i] = a.Prefix
	}
	return prefixes, nil
}
