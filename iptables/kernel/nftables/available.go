package nftables

import (
	"context"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/compat"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/native"
	"golang.org/x/sys/unix"
)

// Available returns nil if the kernel, as it is seen from the network
// namespace, can hold the rules: if it lets us use nf_tables and
// nft_compat, has every xt match and target that they take, and lets us match the
// users and groups. Otherwise the error is the reason.
//
// For the native form it has the kernel check the rules without taking them, as nft
// --check does. For the other it asks for matches and targets (NFNL_MSG_COMPAT_GET,
// linux/netfilter/nf_tables_compat.h), and has the kernel check those of users and
// groups. It makes no table, chain or rule. The kernel may load the modules that it is
// asked about.
func (b *Backend) Available(ctx context.Context, rs iptables.Ruleset) error {
	return connected(ctx, b.namespace, func(c *netlink.Conn) error {
		if b.native {
			return native.Check(ctx, c, rs)
		}
		if err := requirementsMet(ctx, c, rs); err != nil {
			return err
		}
		return compat.CheckOwners(ctx, c, b.namespace, rs)
	})
}

func requirementsMet(ctx context.Context, c *netlink.Conn, rs iptables.Ruleset) error {
	if _, err := c.Generation(ctx); err != nil {
		return err
	}
	var missing []compat.Requirement
	for _, x := range compat.Requirements(rs) {
		if err := ctx.Err(); err != nil {
			return err
		}
		ok, err := x.IsMet(ctx, c)
		if err != nil {
			return err
		}
		if !ok {
			missing = append(missing, x)
		}
	}
	if len(missing) > 0 {
		purpose := netlink.Purpose("find all matches and targets")
		return kernelError(&netlink.Refusal{Purpose: purpose, Errno: unix.ENOENT}, missing)
	}
	return nil
}

// Exists returns nil if the kernel has nf_tables, as far as the network namespace
// can see.
func (b *Backend) Exists(ctx context.Context) error {
	return connected(ctx, b.namespace, func(c *netlink.Conn) error {
		_, err := c.Generation(ctx)
		return err
	})
}
