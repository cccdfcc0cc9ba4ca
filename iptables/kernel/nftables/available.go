package nftables

import (
	"context"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/compat"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/native"
	"golang.org/x/sys/unix"
)

// Available returns nil if the kernel accepts the rules from the network namespace: if it
// lets us use nf_tables and nft_compat, has every xt match and target that they need, and
// lets us match the users and groups. Otherwise the error is the reason.
//
// For the native form the kernel checks the rules without keeping them, as for nft
// --check. For the other it is asked for matches and targets (NFNL_MSG_COMPAT_GET,
// linux/netfilter/nf_tables_compat.h), and checks those of users and groups. Nothing
// creates a table, chain or rule. The kernel may load the modules in question.
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
	if err := ctx.Err(); err != nil {
		return err
	}
	required := compat.Requirements(rs)
	missing, err := compat.Missing(ctx, c, required)
	if err != nil {
		return err
	}
	if len(required) == 0 || len(missing) > 0 {
		// A kernel with an extension for nf_tables has nf_tables.
		if _, err := c.Generation(ctx); err != nil {
			return err
		}
	}
	if len(missing) > 0 {
		purpose := netlink.Purpose("find all matches and targets")
		return kernelError(&netlink.Refusal{Purpose: purpose, Errno: unix.ENOENT}, missing)
	}
	return nil
}

// Exists returns nil if the kernel has nf_tables in the network namespace.
func (b *Backend) Exists(ctx context.Context) error {
	return connected(ctx, b.namespace, func(c *netlink.Conn) error {
		_, err := c.Generation(ctx)
		return err
	})
}
