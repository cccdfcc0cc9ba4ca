package ipset

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/internal/socket"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// Change is what has to be done to a set. Before rules that look it up it is made and filled,
// after them it loses what is not wanted, or goes.
type Change struct {
	Family     iptables.Family
	Name       string
	Make, Drop bool
	Add, Del   []netip.Addr
}

// Diff returns the changes to the wanted sets. Sets of ours that are not wanted go.
func (s State) Diff(want []iptables.AddressSet) []Change {
	var changes []Change
	for _, w := range want {
		have, found := s[w.Name]
		c := Change{Family: w.Family, Name: w.Name, Make: !found}
		c.Add = without(w.Addresses, have.Addresses)
		c.Del = without(have.Addresses, w.Addresses)
		if c.Make || len(c.Add)+len(c.Del) > 0 {
			changes = append(changes, c)
		}
	}
	for _, have := range s.Sets() {
		wanted := slices.ContainsFunc(want, func(w iptables.AddressSet) bool { return w.Name == have.Name })
		if s[have.Name].Ours && !wanted {
			changes = append(changes, Change{Family: have.Family, Name: have.Name, Drop: true, Del: have.Addresses})
		}
	}
	return changes
}

// without returns the addresses of a list that another, which is sorted, does not have.
func without(list, other []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(list), func(a netip.Addr) bool {
		_, found := slices.BinarySearchFunc(other, a, netip.Addr.Compare)
		return found
	})
}

// Before makes the changes that rules need. If one fails, some may have been made.
func Before(ctx context.Context, ns *namespace.Namespace, changes []Change) error {
	conn, err := ns.Netfilter()
	if err != nil {
		return err
	}
	for _, c := range changes {
		if c.Make {
			if err := c.make(ctx, conn); err != nil {
				return fmt.Errorf("failed to make the set %s: %w", c.Name, err)
			}
		}
		if what, err := c.entries(ctx, conn, commandAdd, c.Add); err != nil {
			return fmt.Errorf("failed to add %s to the set %s: %w", what, c.Name, err)
		}
	}
	return nil
}

// After makes the other changes.
func After(ctx context.Context, ns *namespace.Namespace, changes []Change) error {
	conn, err := ns.Netfilter()
	if err != nil {
		return err
	}
	for _, c := range changes {
		if c.Drop {
			if err := destroy(ctx, conn, c.Name); err != nil {
				return fmt.Errorf("failed to remove the set %s: %w", c.Name, err)
			}
			continue
		}
		if what, err := c.entries(ctx, conn, commandDelete, c.Del); err != nil {
			return fmt.Errorf("failed to take %s out of the set %s: %w", what, c.Name, err)
		}
	}
	return nil
}

// freeing limits waiting for rules to let go of a set: nf_tables frees what a transaction
// has removed a moment later (nf_tables_trans_destroy_work in
// net/netfilter/nf_tables_api.c).
const freeing = 5 * time.Second

func destroy(ctx context.Context, conn *netlink.Conn, name string) error {
	for end := time.Now().Add(freeing); ; {
		_, err := tell(ctx, conn, commandDestroy, 0, name, nil)
		switch {
		case errors.Is(err, unix.ENOENT):
			return nil
		case !errors.Is(err, errBusy) || time.Now().After(end):
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Millisecond):
		}
	}
}

// Inverse returns the changes that undo these.
func Inverse(changes []Change) []Change {
	inverse := make([]Change, len(changes))
	for i, c := range changes {
		inverse[i] = Change{Family: c.Family, Name: c.Name, Make: c.Drop, Drop: c.Make, Add: c.Del, Del: c.Add}
	}
	return inverse
}

func (c Change) make(ctx context.Context, conn *netlink.Conn) error {
	family := byte(socket.Domain(c.Family.Unspecified()))
	_, err := tell(ctx, conn, commandCreate, unix.NLM_F_CREATE|unix.NLM_F_EXCL, c.Name, func(b *netlink.Builder) {
		b.PutString(attrType, kind)
		b.PutBytes(attrRevision, []byte{1})
		b.PutBytes(attrFamily, []byte{family})
		b.Nest(attrData, func() { b.PutUint32(attrMaxElements|unix.NLA_F_NET_BYTEORDER, maxElements) })
	})
	return err
}

// perMessage limits how many addresses a message has: all of them are one attribute, which
// takes 64 KiB.
const perMessage = 1000

// entries adds or deletes addresses. One to add that is there is no error, nor one to
// delete that is not (NLM_F_EXCL). Of an error it returns what failed.
func (c Change) entries(ctx context.Context, conn *netlink.Conn, command uint16, all []netip.Addr) (what string, err error) {
	for part := range slices.Chunk(all, perMessage) {
		line, err := tell(ctx, conn, command, 0, c.Name, func(b *netlink.Builder) {
			// The kernel writes the line of the entry that fails here (call_ad in
			// net/netfilter/ipset/ip_set_core.c).
			b.PutNativeUint32(attrLine, 0)
			b.Nest(attrEntries, func() {
				for i, a := range part {
					b.Nest(attrData, func() { putEntry(b, a, uint32(i+1)) })
				}
			})
		})
		switch {
		case err != nil && line > 0 && line <= uint32(len(part)):
			return part[line-1].String(), err
		case err != nil:
			return "addresses", err
		}
	}
	return "", nil
}

func putEntry(b *netlink.Builder, a netip.Addr, line uint32) {
	kind := uint16(attrIPv4)
	if a.Is6() {
		kind = attrIPv6
	}
	b.Nest(attrAddress, func() { b.PutBytes(kind|unix.NLA_F_NET_BYTEORDER, a.AsSlice()) })
	b.PutNativeUint32(attrLine, line)
}
