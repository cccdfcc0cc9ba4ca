package kernel

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/xtables"
)

// Other is a backend beside the chosen one, with the rules it holds.
type Other struct {
	Backend Backend
	// Rules are what its Load returned; some of them are ours.
	Rules iptables.Ruleset
}

// Others returns the backends beside the chosen one that hold rules of ours
// right now. The two variants of one kernel see the same packets, so a caller
// that has applied rules by the chosen one removes them from the others, and a
// cleanup removes them from all.
//
// An error is about a backend that could not be asked, such as legacy tables
// without the programs to read them; the others are returned beside it.
func (c Choice) Others(ctx context.Context) ([]Other, error) {
	chosen := xtables.Variant(c.Backend.Name())
	if b, ok := c.Backend.(*xtables.Backend); ok {
		chosen = b.Variant()
	}
	var others []Other
	var errs []error
	for _, v := range []xtables.Variant{xtables.NFT, xtables.Legacy} {
		if v == chosen {
			continue
		}
		other, err := holding(ctx, v, c.options)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("failed to look for rules in %s: %w", v, err))
		case other != nil:
			others = append(others, *other)
		}
	}
	return others, errors.Join(errs...)
}

// holding returns the backend of a variant if it holds rules of ours, else nil.
func holding(ctx context.Context, v xtables.Variant, options xtables.Options) (*Other, error) {
	exists, what, err := exists(v)
	if err != nil || !exists {
		return nil, err
	}
	backend, err := xtables.Find(ctx, v, options)
	if errors.Is(err, xtables.ErrNotFound) && v == xtables.NFT {
		// Nearly every kernel has nf_tables. Without its programs on this
		// machine it is not they who wrote rules of ours.
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	rules, err := backend.Load(ctx)
	if err != nil {
		return nil, err
	}
	if own := rules.Own(); len(own.Tables) == 0 {
		return nil, nil
	}
	return &Other{backend, rules}, nil
}

// exists reports whether the kernel can hold rules of a variant right now, and
// says by what.
func exists(v xtables.Variant) (ok bool, what string, err error) {
	if v == xtables.NFT {
		return generation() == nil, "the kernel has nf_tables", nil
	}
	var tables []string
	for _, family := range iptables.Families() {
		names, err := xtables.LegacyTables(family)
		if err != nil {
			return false, "", err
		}
		for _, name := range names {
			tables = append(tables, family.String()+" "+name)
		}
	}
	return len(tables) > 0, "there are legacy tables (" + strings.Join(tables, ", ") + ")", nil
}
