package probe

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables/internal/rtnetlink"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// settleTime limits how long to wait for interfaces, and then for addresses: duplicate
// address detection takes up to two seconds (RFC 4862, section 5.4.2), and longer on a
// busy machine.
const settleTime = 5 * time.Second

// settleAll waits until the IPv6 addresses here and outside, which may be nil, can be
// used. Addresses added a moment ago, such as by the validated run, cannot: even without
// duplicate address detection the kernel completes them later (addrconf_dad_work in
// net/ipv6/addrconf.c).
func settleAll(ctx context.Context, here *namespace.Namespace, there *outside) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	settle(ctx, here)
	if there != nil {
		settle(ctx, there.ns)
	}
}

func settle(ctx context.Context, ns *namespace.Namespace) {
	for !settled(ctx, ns) {
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
func settled(ctx context.Context, ns *namespace.Namespace) bool {
	addresses, err := rtnetlink.Addresses(ctx, ns, unix.AF_INET6)
	if err != nil {
		return true
	}
	for _, a := range addresses {
		if a.Prefix.Addr().IsLinkLocalUnicast() || a.Flags&unix.IFA_F_DADFAILED != 0 {
			continue
		}
		if a.Flags&unix.IFA_F_TENTATIVE != 0 {
			return false
		}
		if r, err := rtnetlink.RouteTo(ctx, ns, a.Prefix.Addr()); err != nil || r.Type != unix.RTN_LOCAL {
			return false
		}
	}
	return true
}
