package tables

import (
	"context"

	"github.com/meshtables/meshtables/iptables/internal/netlink"
)

// CheckName is that of a table which never exists: changes that are only checked are
// of it.
const CheckName = "meshtables-check"

// Check returns nil if the kernel takes the changes that add appends, or if there are
// none. It has the kernel check them without taking them; see [netlink.Conn.Check].
//
// They are to depend on nothing that the kernel holds, so whoever changes the rules
// meanwhile is in nobody's way.
func Check(ctx context.Context, c *netlink.Conn, add func(*Changes)) error {
	// What a kernel without nf_tables refuses is to be this.
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
