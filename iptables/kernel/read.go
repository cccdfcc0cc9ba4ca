package kernel

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel/ipset"
	"github.com/meshtables/meshtables/iptables/kernel/nftables"
	"github.com/meshtables/meshtables/iptables/kernel/xtables"
	"github.com/meshtables/meshtables/iptables/namespace"
	"github.com/meshtables/meshtables/iptables/routes"
)

// Installed is the content of a network namespace, read once in a run. Packets pass the
// forms of nf_tables and the legacy tables alike, so looking for our rules means looking
// into all.
type Installed struct {
	installed.Namespace
	// HasNFTables says whether the kernel has nf_tables.
	HasNFTables bool
	// Unread is the error about tables that could not be read and may have rules of ours,
	// such as legacy tables without the programs to read them; else nil.
	Unread error

	namespace *namespace.Namespace
	// legacy are the programs that have read the legacy tables; nil if there are none.
	legacy     *xtables.Backend
	routing    *routes.State
	routingErr error
	// ipsets are the ipsets of ours, if [Installed.readSets] has read them; else nil.
	ipsets    ipset.State
	ipsetsErr error
}

// Read returns the content of a network namespace. It chooses no backend, creates nothing
// and only asks the kernel what is there. It runs iptables programs only if there are
// legacy tables, which cannot be read otherwise.
//
// It returns an error if nf_tables cannot be read: then nobody knows that nothing is
// there.
func Read(ctx context.Context, ns *namespace.Namespace, own iptables.Ownership) (Installed, error) {
	return read(ctx, ns, own, nil)
}

// ReadBy is Read for an explicitly chosen backend. If that uses programs, they read their
// own tables, as they refuse what they cannot write. It returns an error if the backend's
// form cannot be read.
func ReadBy(ctx context.Context, ns *namespace.Namespace, asked Backend) (Installed, error) {
	return read(ctx, ns, asked.Ownership(), asked)
}

func read(ctx context.Context, ns *namespace.Namespace, own iptables.Ownership, asked Backend) (i Installed, err error) {
	i.namespace, i.Ownership = ns, own
	programs, byPrograms := asked.(*xtables.Backend)
	var theirs installed.Backend
	if byPrograms {
		if theirs, err = programs.Load(ctx); err != nil {
			return Installed{}, err
		}
	}
	if err := i.readNFTables(ctx, asked); err != nil {
		return Installed{}, err
	}
	if byPrograms {
		i.put(theirs)
	}
	if theirs.Form == installed.Legacy {
		i.legacy = programs
	} else if err := i.readLegacy(ctx); err != nil {
		i.Unread = errors.Join(i.Unread, err)
	}
	i.fillSets(ctx)
	i.routing, i.routingErr = routes.Read(ctx, ns, own)
	return i, nil
}

// readNFTables reads what is in nf_tables, if the kernel has it.
func (i *Installed) readNFTables(ctx context.Context, asked Backend) error {
	found, err := nftables.Read(ctx, i.namespace, i.Ownership)
	if err == nil {
		i.Namespace, i.HasNFTables = found, true
		return nil
	}
	if _, over := asked.(*nftables.Backend); over || ctx.Err() != nil {
		return err
	}
	unread := fmt.Errorf("failed to look for rules in nf_tables: %w", err)
	if errors.Is(err, fs.ErrPermission) {
		return unread
	}
	i.HasNFTables = nftables.New(i.namespace, i.Ownership).Exists(ctx) == nil
	switch {
	case !i.HasNFTables:
		return nil
	case asked == nil:
		return unread
	}
	// Backends that use programs can go on.
	i.Unread = unread
	return nil
}

// put replaces the content of a form by what programs have read.
func (i *Installed) put(theirs installed.Backend) {
	i.Backends = slices.DeleteFunc(i.Backends, func(b installed.Backend) bool { return b.Form == theirs.Form })
	at := 0
	if theirs.Form == installed.Legacy {
		at = len(i.Backends)
	}
	if len(theirs.Rules.Tables) > 0 {
		i.Backends = slices.Insert(i.Backends, at, theirs)
	}
}

// readLegacy reads the legacy tables, if any, whatever is in them.
func (i *Installed) readLegacy(ctx context.Context) error {
	tables := make(map[iptables.Family][]string)
	for _, family := range iptables.Families() {
		names, err := xtables.LegacyTables(i.namespace, family)
		if err != nil {
			return err
		}
		if len(names) > 0 {
			tables[family] = names
		}
	}
	if len(tables) == 0 {
		return nil
	}
	programs, err := xtables.Find(ctx, i.namespace, i.Ownership, xtables.Legacy, xtables.Options{})
	if err != nil {
		return unreadLegacy(tables, err)
	}
	have, err := programs.Load(ctx)
	if err != nil {
		return fmt.Errorf("failed to look for rules in %s: %w", programs.Name(), err)
	}
	i.legacy = programs
	i.Backends = append(i.Backends, have)
	if err := programs.Missing(iptables.IPv6); err != nil && tables[iptables.IPv6] != nil {
		return unreadLegacy(map[iptables.Family][]string{iptables.IPv6: tables[iptables.IPv6]}, err)
	}
	return nil
}

// unreadLegacy names the tables that could not be read.
func unreadLegacy(tables map[iptables.Family][]string, err error) error {
	var names []string
	for _, family := range iptables.Families() {
		for _, name := range tables[family] {
			names = append(names, family.String()+" "+name)
		}
	}
	return fmt.Errorf("there are legacy tables (%s): %w", strings.Join(names, ", "), err)
}

// Routing returns the routing that was read.
func (i *Installed) Routing() (*routes.State, error) { return i.routing, i.routingErr }

// Default returns the form that rules would have, without asking whether the kernel
// accepts them; see [Choose].
func (i *Installed) Default() installed.Form {
	if i.HasNFTables {
		return installed.NFT
	}
	return installed.Legacy
}

// backend returns the backend for a form that has rules.
func (i *Installed) backend(f installed.Form) Backend {
	switch {
	case f == installed.Legacy:
		return i.legacy
	case f == installed.Native:
		return nftables.NewNative(i.namespace, i.Ownership)
	}
	return nftables.New(i.namespace, i.Ownership)
}
