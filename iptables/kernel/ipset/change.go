package ipset

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
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
	return do(ctx, ns, func(h *netlink.Handle) error {
		for _, c := range changes {
			if c.Make {
				if err := c.make(h); err != nil {
					return fmt.Errorf("failed to make the set %s: %w", c.Name, err)
				}
			}
			for _, a := range c.Add {
				if err := h.IpsetAdd(c.Name, entry(a)); err != nil {
					return fmt.Errorf("failed to add %s to the set %s: %w", a, c.Name, err)
				}
			}
		}
		return nil
	})
}

// After makes the other changes.
func After(ctx context.Context, ns *namespace.Namespace, changes []Change) error {
	return do(ctx, ns, func(h *netlink.Handle) error {
		for _, c := range changes {
			if c.Drop {
				if err := destroy(ctx, h, c.Name); err != nil {
					return fmt.Errorf("failed to remove the set %s: %w", c.Name, err)
				}
				continue
			}
			for _, a := range c.Del {
				if err := h.IpsetDel(c.Name, entry(a)); err != nil {
					return fmt.Errorf("failed to take %s out of the set %s: %w", a, c.Name, err)
				}
			}
		}
		return nil
	})
}

// freeing limits waiting for rules to let go of a set: nf_tables frees what a transaction
// has removed a moment later (nf_tables_trans_destroy_work in
// net/netfilter/nf_tables_api.c).
const freeing = 5 * time.Second

func destroy(ctx context.Context, h *netlink.Handle, name string) error {
	for end := time.Now().Add(freeing); ; {
		err := h.IpsetDestroy(name)
		switch {
		case errors.Is(err, unix.ENOENT):
			return nil
		case !errors.Is(err, nl.IPSetError(nl.IPSET_ERR_BUSY)) || time.Now().After(end):
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

func (c Change) make(h *netlink.Handle) error {
	family := uint8(unix.AF_INET)
	if c.Family == iptables.IPv6 {
		family = unix.AF_INET6
	}
	return h.IpsetCreate(c.Name, kind, netlink.IpsetCreateOptions{Family: family, MaxElements: maxElements})
}

// entry replaces an equal one, so that it is no error.
func entry(a netip.Addr) *netlink.IPSetEntry {
	return &netlink.IPSetEntry{IP: a.AsSlice(), Replace: true}
}
