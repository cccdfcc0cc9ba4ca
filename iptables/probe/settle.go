package probe

import (
	"context"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// settleTime limits how long to wait for interfaces, and then for addresses: duplicate
// address detection takes up to two seconds (RFC 4862, section 5.4.2), and longer on a
// busy machine.
const settleTime = 5 * time.Second

// settleAll waits until the IPv6 addresses here and outside, which may be nil, can be
// used. Addresses added a moment ago, such as by the validated run, cannot: even without
// duplicate address detection the kernel completes them later (addrconf_dad_work in
// net/ipv6/addrconf.c). The error is about the thread.
func settleAll(ctx context.Context, there *outside) error {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	settle(ctx)
	if there == nil {
		return nil
	}
	return there.do(func() error {
		settle(ctx)
		return nil
	})
}

func settle(ctx context.Context) {
	for !settled() {
		if pause(ctx) != nil {
			// The connections will show.
			return
		}
	}
}

// pause waits a moment, or returns the error of a context that has ended.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(5 * time.Millisecond):
		return nil
	}
}

// settled reports whether all addresses are complete and packets to them stay here. If
// that is unknown, there is nothing to wait for.
func settled() bool {
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_V6)
	if err != nil {
		return true
	}
	for _, a := range addrs {
		if a.IP.IsLinkLocalUnicast() || a.Flags&unix.IFA_F_DADFAILED != 0 {
			continue
		}
		if a.Flags&unix.IFA_F_TENTATIVE != 0 {
			return false
		}
		routes, err := netlink.RouteGet(a.IP)
		if err != nil || len(routes) > 0 && routes[0].Type != unix.RTN_LOCAL {
			return false
		}
	}
	return true
}
