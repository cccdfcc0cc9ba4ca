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
)

// Installed is a backend with the rules that it holds.
type Installed struct {
	Backend Backend
	// Have is what its Load returned; some of it is ours.
	Have installed.Backend
}

// Others returns the backends beside the chosen one that hold rules of ours
// right now. Both forms of nf_tables and the legacy tables of one kernel see the
// same packets, so a caller that has applied rules to one removes them from the
// others, and a cleanup removes them from all.
//
// unseen is about a backend that could not be asked, such as legacy tables without the
// programs to read them; the others are returned beside it. The error is that nf_tables
// may not be asked.
func (c Choice) Others(ctx context.Context) (others []Installed, unseen, err error) {
	candidates, legacyErr, err := c.beside(ctx)
	if err != nil {
		return nil, nil, err
	}
	errs := []error{legacyErr}
	for _, backend := range candidates {
		have, err := backend.Load(ctx)
		if err != nil {
			errs = append(errs, fmt.Errorf("failed to look for rules in %s: %w", backend.Name(), err))
		} else if have.HasOwn() {
			others = append(others, Installed{backend, have})
		}
	}
	return others, errors.Join(errs...), nil
}

// FormOf returns the form in which a backend has rules, by the name of the backend that
// has no other: for programs by the plain name, which is [NFT] or [Legacy].
func FormOf(b Backend) string {
	if programs, ok := b.(*xtables.Backend); ok {
		return string(programs.Variant())
	}
	return b.Name()
}

// beside returns the backends beside the chosen one that are there: both forms of
// nf_tables, whose compatible one the programs write too, and legacy tables, or why it
// cannot be told whether these are there.
func (c Choice) beside(ctx context.Context) (backends []Backend, legacyErr, err error) {
	chosen := FormOf(c.Backend)
	switch err := nftables.New().Exists(); {
	case err == nil:
		backends = append(backends, nftables.New(), nftables.NewNative())
	case errors.Is(err, fs.ErrPermission):
		// Who may not ask does not know that nothing is there.
		return nil, nil, fmt.Errorf("failed to look for rules in nf_tables: %w", err)
	}
	if chosen != Legacy {
		var legacy Backend
		if legacy, legacyErr = c.legacy(ctx); legacy != nil {
			backends = append(backends, legacy)
		}
	}
	return slices.DeleteFunc(backends, func(b Backend) bool { return b.Name() == chosen }), legacyErr, nil
}

// legacy returns the backend for legacy tables, or nil where there are none.
func (c Choice) legacy(ctx context.Context) (Backend, error) {
	var tables []string
	for _, family := range iptables.Families() {
		names, err := xtables.LegacyTables(family)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			tables = append(tables, family.String()+" "+name)
		}
	}
	if len(tables) == 0 {
		return nil, nil
	}
	programs, err := xtables.Find(ctx, xtables.Legacy, c.options)
	if err != nil {
		return nil, fmt.Errorf("there are legacy tables (%s): %w", strings.Join(tables, ", "), err)
	}
	return programs, nil
}
