// Package xtables reads and writes rules by the iptables programs: iptables-save and one
// iptables-restore per family, of the nf_tables or the legacy variant.
//
// The programs change one table at a time, each in one transaction. If one fails, the
// tables before it are put back.
package xtables

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// Variant selects the programs.
type Variant string

// The variants, named as --backend names them.
const (
	NFT    Variant = "iptables-nft"    // write to nf_tables
	Legacy Variant = "iptables-legacy" // write to the kernel's older ip_tables
	Any    Variant = "iptables"        // the variant that "iptables" is
)

// DefaultLockWait is how long a legacy program waits for another one, unless [Options]
// say otherwise.
const DefaultLockWait = 10 * time.Second

// Options are the optional parts of [Find].
type Options struct {
	// LockWait limits how long a program waits for the lock that all legacy programs
	// share: /run/xtables.lock, or the file named by the environment variable
	// XTABLES_LOCKFILE. It is rounded up to seconds; 0 is [DefaultLockWait].
	LockWait time.Duration

	execer execer // where tests inject faults
}

// Backend reads and writes the rules of a network namespace by the programs of one
// variant.
type Backend struct {
	namespace *namespace.Namespace
	own       iptables.Ownership
	name      Variant // as it was asked for
	variant   Variant // NFT or Legacy
	programs  map[iptables.Family]programs
	missing   map[iptables.Family]error // why a family has no programs
	lockWait  time.Duration
	execer    execer
}

// Name returns the name that --backend gave the programs.
func (b *Backend) Name() string { return string(b.name) }

// Ownership says which of the rules are ours.
func (b *Backend) Ownership() iptables.Ownership { return b.own }

// Variant returns NFT or Legacy, also for [Any].
func (b *Backend) Variant() Variant { return b.variant }

// String returns path and version of the programs, such as "/usr/sbin/iptables-nft
// 1.8.9".
func (b *Backend) String() string {
	p := b.programs[iptables.IPv4]
	return fmt.Sprintf("%s %s", p.main, p.version)
}

// Missing returns why there are no programs for a family, or nil. Such a family is not
// loaded, and rules for it are refused.
func (b *Backend) Missing(family iptables.Family) error { return b.missing[family] }

// Form returns a plan with the ports of long lists grouped.
func (b *Backend) Form(plan iptables.Plan) iptables.Ruleset { return form.IPTables(plan) }

// errUnknownFamily guards against a ruleset with a family that does not exist.
var errUnknownFamily = errors.New("no such address family")

// Replace replaces what is ours in have by want. It writes only tables that differ, and
// runs no program if none does. The legacy programs create a missing table, empty, even
// if it is not written in the end.
//
// A [*ReplaceError] says whether the old rules are still in place. Its cause is usually
// an [*Error].
func (b *Backend) Replace(ctx context.Context, have installed.Backend, want iptables.Ruleset) error {
	writes, err := b.writes(&have.Rules, &want)
	if err != nil {
		return &ReplaceError{Err: err}
	}
	for _, w := range writes {
		if err := b.restore(ctx, w, "--test"); err != nil {
			return &ReplaceError{Err: err}
		}
	}
	for _, w := range writes {
		if err := b.restore(ctx, w); err != nil {
			return &ReplaceError{Err: err, PutBack: b.putBack(ctx, &have.Rules)}
		}
	}
	return nil
}

// putBackTimeout limits putting old rules back, which has to happen even if the context
// has ended.
const putBackTimeout = 30 * time.Second

// putBack makes what is ours what it was in have, whatever it is now.
func (b *Backend) putBack(ctx context.Context, have *iptables.Ruleset) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), putBackTimeout)
	defer cancel()
	now, err := b.Load(ctx)
	if err != nil {
		return err
	}
	writes, err := b.writes(&now.Rules, have)
	if err != nil {
		return err
	}
	for _, w := range writes {
		if err := b.restore(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// write is what has to be written for one family.
type write struct {
	family iptables.Family
	tables []edit
}

func (b *Backend) writes(have, want *iptables.Ruleset) ([]write, error) {
	var writes []write
	for _, rs := range []*iptables.Ruleset{have, want} {
		for _, t := range rs.Tables {
			if t.Family != iptables.IPv4 && t.Family != iptables.IPv6 {
				return nil, errUnknownFamily
			}
		}
	}
	for _, family := range iptables.Families() {
		edits := edits(b.own, have, want, family)
		if len(edits) == 0 {
			continue
		}
		if err := b.missing[family]; err != nil {
			return nil, fmt.Errorf("%s rules are wanted: %w", family, err)
		}
		writes = append(writes, write{family, edits})
	}
	return writes, nil
}
