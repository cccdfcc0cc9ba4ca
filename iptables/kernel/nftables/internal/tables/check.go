package tables

import (
	"context"

	"github.com/meshtables/meshtables/iptables/internal/netlink"
)

// CheckName names a table that never exists, for changes that are only checked.
const CheckName = "meshtables-check"

// Check returns nil if the kernel accepts the changes that add appends, or if there are
// none. The kernel checks them without making them; see [netlink.Conn.Check].
//
// The changes must not depend on anything in the kernel, so that changes by others
// meanwhile do not matter.
func Check(ctx context.Context, c *netlink.Conn, add func(*Changes)) error {
	// On a kernel without nf_tables this request is the one that fails.
	if _, err := c.Generation(ctx); err != nil {
		return err
	}
	changes := NewChanges(c, netlink.AnyGeneration)
	add(changes)
	if err := changes.Err(); err != nil || changes.Empty() {
		return err
	}
	return c.Check(ctx, changes.Batch)
}
