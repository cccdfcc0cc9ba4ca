// Package nftables writes rules over netlink, and reads them back, in one of two forms.
// [New] uses the form of iptables-nft: the tables "ip nat", "ip mangle" and so on, with
// the xt matches and targets of nft_compat. Every iptables-nft lists, checks and saves
// them as its own. [NewNative] uses nf_tables' own form: one table "inet meshtables" for
// both families, with sets for lists and without xtables, for nft to list.
//
// It runs no program. All tables of both families change in one transaction, and only if
// nobody else has changed any since they were read. It needs only CAP_NET_ADMIN in the
// user namespace that owns the network namespace.
//
// It talks to the kernel over iptables/internal/netlink: messages, questions, lists and
// transactions. Its internal packages, each importing only those before it, are
//
//   - expression: the expressions of a rule that both forms share;
//   - tables: tables, chains and rules around the expressions;
//   - compat: the form of iptables-nft, and native: nf_tables' own;
//   - others: what other programs have in neither;
//   - record: what was asked for, beside the rules.
//
// This package reads both forms and what is around them at one generation, changes both
// in one transaction, and says what a refusal of the kernel means. nft --debug=netlink
// list ruleset shows the expressions of a rule.
package nftables

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// Backend reads and writes the rules of a network namespace over netlink.
type Backend struct {
	namespace *namespace.Namespace
	own       iptables.Ownership
	// native selects the form.
	native bool
	// records are what Replace leaves as the records, if recording is set.
	records   installed.Records
	recording bool
	// sets are what Replace leaves in named sets, if holding is set.
	sets    []iptables.AddressSet
	holding bool
}

// New returns the backend for the form that iptables lists. It touches nothing.
func New(ns *namespace.Namespace, own iptables.Ownership) *Backend {
	return &Backend{namespace: ns, own: own}
}

// NewNative returns the backend for the native form. It touches nothing.
func NewNative(ns *namespace.Namespace, own iptables.Ownership) *Backend {
	return &Backend{namespace: ns, own: own, native: true}
}

// Name returns "iptables-nft" or, for the native form, "nftables".
func (b *Backend) Name() string {
	if b.native {
		return string(installed.Native)
	}
	return string(installed.NFT)
}

// Ownership says which of the rules are ours.
func (b *Backend) Ownership() iptables.Ownership { return b.own }

// Form returns a plan in the backend's form, which Replace takes and Load returns.
func (b *Backend) Form(plan iptables.Plan) iptables.Ruleset {
	if b.native {
		return form.Native(plan)
	}
	return form.IPTables(plan)
}

// Read returns the forms with content, the records of what was asked for, and what others
// have around them, as they were at one moment. It changes nothing: it creates no table or
// chain and loads no module. Refusals
// of the kernel are an *[Error], which is [ErrMissing] if it has no nf_tables.
//
// The native form's one table is returned as tables of the model. The other form has the
// tables that iptables uses, of both families, in the order and with the built-in chains
// that iptables-nft-save prints, and with counters.
//
// A match or target of xtables that the model does not have is an [iptables.UnknownMatch]
// or [iptables.UnknownTarget] in iptables' words, or without any. What other programs write
// in nf_tables' own expressions is told as package others does.
func Read(ctx context.Context, ns *namespace.Namespace, own iptables.Ownership) (have installed.Namespace, err error) {
	err = connected(ctx, ns, func(c *netlink.Conn) error {
		s, err := takeSnapshot(ctx, c, ns, own)
		if err != nil {
			return err
		}
		s.complete(ctx, ns)
		for _, b := range []*Backend{New(ns, own), NewNative(ns, own)} {
			if of := b.of(s); len(of.Rules.Tables) > 0 || len(of.Faults) > 0 {
				have.Backends = append(have.Backends, of)
			}
		}
		have.Ownership, have.Records, have.Token = own, s.record.Records(), s
		have.Others = s.others.Rules(&s.reader)
		have.Bases, have.HasBases = s.bases(), true
		return nil
	})
	return have, err
}

// Recording returns the backend as one whose Replace and Take leave these records and no
// others of ours, in the same transaction as the rules.
func (b *Backend) Recording(r installed.Records) *Backend {
	recording := *b
	recording.records, recording.recording = r, true
	return &recording
}

// Holding returns the backend as one whose Replace and Take leave this content in the named
// sets of the native form, in the same transaction as the rules.
func (b *Backend) Holding(sets []iptables.AddressSet) *Backend {
	holding := *b
	holding.sets, holding.holding = sets, true
	return &holding
}

// Load returns the part of [Read] in the backend's form, which may be empty.
func (b *Backend) Load(ctx context.Context) (have installed.Backend, err error) {
	err = connected(ctx, b.namespace, func(c *netlink.Conn) error {
		s, err := takeSnapshot(ctx, c, b.namespace, b.own)
		if err != nil {
			return err
		}
		s.complete(ctx, b.namespace)
		have = b.of(s)
		return nil
	})
	return have, err
}

// Replace replaces what is ours in the kernel by want in one transaction.
//
// It starts from what was read, by the token of have, and reads again only if the kernel
// says that somebody has changed something since. The result is want, whatever have is,
// also if several copies with the same want run at once. A chain of ours that is right
// already keeps its counters. So do jumps to our chains, if those of a built-in chain are
// right and in order; otherwise they go to the end of that chain. If nothing has to
// change, it sends nothing.
//
// A want without tables removes everything of ours: our chains, the jumps to them, and
// the tables and built-in chains that Replace had to create, unless something foreign is
// in them.
//
// Errors are a *[ReplaceError], with an *[Error] in it for refusals of the kernel.
func (b *Backend) Replace(ctx context.Context, have installed.Backend, want iptables.Ruleset) error {
	return b.replace(ctx, have, want, false)
}

// Take is Replace, and removes what is ours in the other form in the same transaction. If
// copies run at once in both forms, the last one's rules stay, so the others do not get
// their want.
func (b *Backend) Take(ctx context.Context, have installed.Backend, want iptables.Ruleset) error {
	return b.replace(ctx, have, want, true)
}

func (b *Backend) replace(ctx context.Context, have installed.Backend, want iptables.Ruleset, alone bool) error {
	if err := b.onlyOurs(want); err != nil {
		return err
	}
	want, err := b.numbered(want)
	if err != nil {
		return &ReplaceError{Err: err}
	}
	return b.change(ctx, have, b.rules(want, alone))
}

// rules returns what appends the changes to the wanted rules, and to the records.
func (b *Backend) rules(want iptables.Ruleset, alone bool) func(*snapshot, *tables.Changes) error {
	return func(s *snapshot, changes *tables.Changes) error {
		own, other := b.forms(s)
		err := error(nil)
		if b.native && b.holding {
			err = s.native.ChangesWith(changes, want, b.sets)
		} else {
			err = own.Changes(changes, want)
		}
		if err != nil {
			return err
		}
		if b.recording {
			s.record.Changes(changes, b.records)
		}
		if alone {
			return other.Changes(changes, iptables.Ruleset{})
		}
		return changes.Err()
	}
}

// Record replaces the records alone, as Replace replaces the rules.
func (b *Backend) Record(ctx context.Context, have installed.Backend, r installed.Records) error {
	return b.change(ctx, have, func(s *snapshot, changes *tables.Changes) error {
		s.record.Changes(changes, r)
		return changes.Err()
	})
}

// change makes the changes that add appends, in one transaction.
func (b *Backend) change(ctx context.Context, have installed.Backend, add func(*snapshot, *tables.Changes) error) error {
	s, _ := have.Token.(*snapshot)
	lost := 0
	for attempt := 1; ; attempt++ {
		err := b.changeOnce(ctx, s, add)
		if err == nil {
			return nil
		}
		s = nil
		again := isTransient(err) && attempt < maxAttempts
		if errors.Is(err, netlink.ErrNoAnswer) {
			// The next attempt finds out whether it was done.
			lost++
			again = lost < maxLostAnswers
		}
		if !again || !pause(ctx, attempt) {
			return &ReplaceError{Err: err, Unknown: lost > 0}
		}
	}
}

// maxLostAnswers limits how often to wait for an answer in vain.
const maxLostAnswers = 3

// pause keeps copies that started together from staying in step. It returns false when
// the context has ended.
func pause(ctx context.Context, attempt int) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(rand.N(time.Duration(attempt) * time.Millisecond)):
		return true
	}
}

// changeOnce changes the kernel from the snapshot's state, or from the present one if the
// snapshot is nil or outdated.
func (b *Backend) changeOnce(ctx context.Context, s *snapshot, add func(*snapshot, *tables.Changes) error) error {
	return connected(ctx, b.namespace, func(c *netlink.Conn) (err error) {
		if s == nil || s.written {
			if s, err = takeSnapshot(ctx, c, b.namespace, b.own); err != nil {
				return err
			}
		}
		changes := tables.NewChanges(c, s.generation)
		if err := add(s, changes); err != nil {
			return err
		}
		if changes.Empty() {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		s.written = true
		return c.Commit(ctx, changes.Batch)
	})
}

// connected calls do with the namespace's connection, and explains refusals of the
// kernel.
func connected(ctx context.Context, ns *namespace.Namespace, do func(*netlink.Conn) error) error {
	c, err := ns.Netfilter()
	if err != nil {
		return err
	}
	return described(ctx, c, do(c))
}

// onlyOurs refuses a wanted ruleset with anything but our chains and jumps to them.
func (b *Backend) onlyOurs(want iptables.Ruleset) error {
	for _, t := range want.Tables {
		for _, c := range t.Chains {
			if b.own.Owns(c.Name) {
				continue
			}
			for _, r := range c.Rules {
				if !b.own.OwnsJump(r) {
					return fmt.Errorf("table %s, chain %s, rule %s: not ours to write",
						tables.Key{Family: t.Family, Name: t.Name}, c.Name, r)
				}
			}
		}
	}
	return nil
}
