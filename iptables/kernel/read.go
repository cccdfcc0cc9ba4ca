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
	"github.com/meshtables/meshtables/iptables/kernel/nftables"
	"github.com/meshtables/meshtables/iptables/kernel/xtables"
	"github.com/meshtables/meshtables/iptables/namespace"
	"github.com/meshtables/meshtables/iptables/routes"
)

// Installed is what a network namespace has, as it is read once in a run. The forms of
// nf_tables and the legacy tables of one kernel see the same packets, so whoever looks
// for rules of ours looks into all.
type Installed struct {
	installed.Namespace
	// HasNFTables tells whether the kernel has nf_tables.
	HasNFTables bool
	// Unread is about what may hold rules of ours but could not be read, such as legacy
	// tables without the programs that read them; nil if there is nothing like that.
	Unread error

	namespace *namespace.Namespace
	// legacy are the programs that have read the legacy tables; nil where there are none.
	legacy     *xtables.Backend
	routing    *routes.State
	routingErr error
}

// Read returns what a network namespace has. It chooses no backend, makes nothing, and
// asks the kernel for nothing but what is there: iptables programs run only where there
// are legacy tables, for which there is no other way.
//
// It is an error if nf_tables cannot be read: who may not ask does not know that nothing
// is there.
func Read(ctx context.Context, ns *namespace.Namespace, own iptables.Ownership) (Installed, error) {
	return read(ctx, ns, own, nil)
}

// ReadBy is Read where a backend was asked for. What programs that were asked for are about
// is read by them, as they refuse what they cannot write; and it is an error if the
// backend's form cannot be read.
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
	// Who works by programs can go on.
	i.Unread = unread
	return nil
}

// put puts what programs have read in the place of what is of their form.
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

// readLegacy reads the legacy tables where there are any.
func (i *Installed) readLegacy(ctx context.Context) error {
	var tables []string
	for _, family := range iptables.Families() {
		names, err := xtables.LegacyTables(i.namespace, family)
		if err != nil {
			return err
		}
		for _, name := range names {
			tables = append(tables, family.String()+" "+name)
		}
	}
	if len(tables) == 0 {
		return nil
	}
	programs, err := xtables.Find(ctx, i.namespace, i.Ownership, xtables.Legacy, xtables.Options{})
	if err != nil {
		return fmt.Errorf("there are legacy tables (%s): %w", strings.Join(tables, ", "), err)
	}
	have, err := programs.Load(ctx)
	if err != nil {
		return fmt.Errorf("failed to look for rules in %s: %w", programs.Name(), err)
	}
	i.legacy = programs
	i.Backends = append(i.Backends, have)
	return nil
}

// Routing returns what there is of routing.
func (i *Installed) Routing() (*routes.State, error) { return i.routing, i.routingErr }

// Default returns the form in which rules would be, as far as that can be told without
// asking whether the kernel takes them: see [Choose].
func (i *Installed) Default() installed.Form {
	if i.HasNFTables {
		return installed.NFT
	}
	return installed.Legacy
}

// backend returns what reaches the rules of a form that has some.
func (i *Installed) backend(f installed.Form) Backend {
	switch {
	case f == installed.Legacy:
		return i.legacy
	case f == installed.Native:
		return nftables.NewNative(i.namespace, i.Ownership)
	}
	return nftables.New(i.namespace, i.Ownership)
}
