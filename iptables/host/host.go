// Package host finds out about the namespace that meshtables runs in what
// planning rules needs: its addresses and its name servers, and who its users
// and groups are.
//
// Everything is read for the network namespace of the calling thread, so a
// caller that has changed its thread's namespace has to keep the goroutine
// locked to it ([runtime.LockOSThread]). Nothing here needs a privilege or
// changes anything.
package host

import (
	"fmt"
	"net"
	"net/netip"
)

// Host is what is known about a network namespace and the root file system that
// goes with it.
type Host struct {
	// Addresses are those of all interfaces, with their prefix lengths.
	Addresses []netip.Prefix
	// NameServers are those of resolv.conf, in its order.
	NameServers []netip.Addr
}

// Discover returns the addresses of all interfaces of the calling thread's
// network namespace, in the kernel's order, and the name servers of the file
// resolvConf, usually [ResolvConf]. A missing file means that there are none.
func Discover(resolvConf string) (Host, error) {
	addresses, err := Addresses()
	if err != nil {
		return Host{}, err
	}
	servers, err := nameServers(resolvConf)
	if err != nil {
		return Host{}, err
	}
	return Host{Addresses: addresses, NameServers: servers}, nil
}

// Addresses returns the addresses of all interfaces of the calling thread's network
// namespace, with their prefix lengths, in the kernel's order.
func Addresses() ([]netip.Prefix, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("failed to list the addresses of the network namespace: %w", err)
	}
	prefixes := make([]netip.Prefix, 0, len(addrs))
	for _, a := range addrs {
		ipnet, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		// net keeps IPv4 addresses in 16 bytes, but their masks in 4.
		addr, ok := netip.AddrFromSlice(ipnet.IP)
		bits, _ := ipnet.Mask.Size()
		if ok {
			prefixes = append(prefixes, netip.PrefixFrom(addr.Unmap(), bits))
		}
	}
	return prefixes, nil
}
