package kernel

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables"
	"github.com/meshtables/meshtables/iptables/kernel/xtables"
)

// Other is a backend beside the chosen one, with the rules it holds.
type Other struct {
	Backend Backend
	// Rules are what its Load returned; some of them are ours.
	Rules iptables.Ruleset
}

// Others returns the backends beside the chosen one that hold rules of ours
// right now. nf_tables and the legacy tables of one kernel see the same packets,
// so a caller that has applied rules to one removes them from the other, and a
// cleanup removes them from both.
//
// An error is about a backend that could not be asked, such as legacy tables
// without the programs to read them.
func (c Choice) Others(ctx context.Context) ([]Other, error) {
	find := c.nfTables
	if programs, ok := c.Backend.(*xtables.Backend); !ok || programs.Variant() == xtables.NFT {
		find = c.legacy
	}
	backend, err := find(ctx)
	if err != nil || backend == nil {
		return nil, err
	}
	rules, err := backend.Load(ctx)
	if err != nil {
		return nil, fmt.Errorf("failed to look for rules in %s: %w", backend.Name(), err)
	}
	if own := rules.Own(); len(own.Tables) == 0 {
		return nil, nil
	}
	return []Other{{backend, rules}}, nil
}

// nfTables returns the backend for nf_tables, or nil where the kernel does not
// have it.
func (c Choice) nfTables(context.Context) (Backend, error) {
	netlink := nftables.New()
	if netlink.Exists() != nil {
		return nil, nil
	}
	return netlink, nil
}

// legacy returns the backend for legacy tables, or nil where there are none.
func (c Choice) legacy(ctx context.Context) (Backend, error) {
	var tables []string
	var errs []error
	for _, family := range iptables.Families() {
		names, err := xtables.LegacyTables(family)
		errs = append(errs, err)
		for _, name := range names {
			tables = append(tables, family.String()+" "+name)
		}
	}
	if err := errors.Join(errs...); err != nil || len(tables) == 0 {
		return nil, err
	}
	programs, err := xtables.Find(ctx, xtables.Legacy, c.options)
	if err != nil {
		return nil, fmt.Errorf("there are legacy tables (%s): %w", strings.Join(tables, ", "), err)
	}
	return programs, nil
}
