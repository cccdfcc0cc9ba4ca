package xtables

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/internal/gvisor"
	"github.com/meshtables/meshtables/iptables/internal/lazy"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// Load returns every table that exists, of the families that have programs, with
// counters. It creates nothing.
//
// The error wraps [ErrIncompatible] if a table that we use has rules that the programs
// cannot show.
func (b *Backend) Load(ctx context.Context) (installed.Backend, error) {
	have := installed.Backend{Name: b.Name(), Form: installed.Form(b.variant), Ownership: b.own}
	for _, family := range iptables.Families() {
		if b.missing[family] != nil {
			continue
		}
		tables, err := b.loadFamily(ctx, family)
		if err != nil {
			return installed.Backend{}, fmt.Errorf("failed to read the %s rules: %w", family, err)
		}
		have.Rules.Tables = append(have.Rules.Tables, tables...)
	}
	have.Rules.Sort()
	if own := have.Own(); hasUnshown(&own) {
		have.Faults = []installed.Fault{{Text: unshown, Lasts: true}}
	}
	return have, nil
}

func (b *Backend) loadFamily(ctx context.Context, family iptables.Family) ([]iptables.Table, error) {
	if b.variant == Legacy {
		names, err := LegacyTables(b.namespace, family)
		if err != nil || len(names) == 0 {
			return nil, err
		}
	}
	text, err := b.save(ctx, family)
	if err != nil {
		return nil, err
	}
	if err := checkCompatible(family, text); err != nil {
		return nil, err
	}
	return iptables.ParseSave(family, strings.NewReader(text))
}

// save returns what the programs print about all tables.
func (b *Backend) save(ctx context.Context, family iptables.Family) (string, error) {
	if b.variant == Legacy && gvisor.Here() {
		return b.saveEach(ctx, family, tablesOfGVisor())
	}
	return b.execer.run(ctx, command{path: b.programs[family].save, args: []string{"-c"}})
}

// LegacyTables returns the names of the tables of the legacy variant that exist. The
// kernel lists them in a file, which does not exist before its module is loaded. The
// programs would create a table by looking for it.
func LegacyTables(ns *namespace.Namespace, family iptables.Family) ([]string, error) {
	// "/proc/net" is the process's, not the thread's.
	path := "/proc/thread-self/net/ip_tables_names"
	if family == iptables.IPv6 {
		path = "/proc/thread-self/net/ip6_tables_names"
	}
	text, err := ns.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && gvisor.Here() {
		return tablesOfGVisor(), nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if errors.Is(err, fs.ErrPermission) {
		// The file belongs to root, and root's group, of the user namespace that owns the
		// network namespace (xt_proto_init in net/netfilter/x_tables.c).
		hint := "run with the group 0, in a pod runAsGroup: 0"
		if !inOwner(ns) {
			hint = "run with the capability DAC_READ_SEARCH: the network namespace belongs to another user namespace (hostUsers: false)"
		}
		return nil, fmt.Errorf("failed to look for legacy tables: %w\nhint: %s", err, hint)
	}
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(text)), nil
}

// incompatible is what iptables-nft-save prints when it skips a table (nft_table_save in
// iptables/xtables-save.c). It still succeeds.
var incompatible = lazy.Regexp("(?m)^# Table [`']([^']*)' is incompatible")

func checkCompatible(family iptables.Family, text string) error {
	for _, match := range incompatible().FindAllStringSubmatch(text, -1) {
		if slices.Contains(writeOrder[:], match[1]) {
			return fmt.Errorf("%w: %s table %s has rules that iptables cannot show\n"+
				"hint: see them with nft list ruleset, or use --backend=nftables, which has a table of its own", ErrIncompatible, family, match[1])
		}
	}
	return nil
}
