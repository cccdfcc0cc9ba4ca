// Package nftables writes rules over netlink, and reads them back, in one of two
// forms. [New] has that of iptables-nft: the tables "ip nat", "ip mangle" and so
// on, with the xt matches and targets of nft_compat. Every iptables-nft lists,
// checks and saves them as if it had written them itself. [NewNative] has
// nf_tables' own: one table "inet meshtables" for both families, with sets for
// lists and nothing of xtables, for nft to list.
//
// No program is run. All tables of both families change in one transaction, and
// only if nobody else has changed any since they were read; the one thing it
// takes is CAP_NET_ADMIN in the user namespace that owns the network namespace.
//
// It talks to the kernel by iptables/internal/netlink: messages, questions, lists and
// transactions. The packages inside it, each of which imports only those before it, are
//
//   - expression: what both forms share of the expressions of a rule;
//   - tables: tables, chains and rules around the expressions;
//   - compat: the form of iptables-nft, and native: nf_tables' own.
//
// This one reads both forms and what is around them at one generation, changes both in
// one transaction, and says what a refusal of the kernel means. nft --debug=netlink list ruleset shows
// the expressions of a rule.
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

// Backend reaches the rules of a network namespace over netlink.
type Backend struct {
	namespace *namespace.Namespace
	own       iptables.Ownership
	// native selects the form.
	native bool
}

// New returns the backend of the form that iptables lists, for what is ours in a
// network namespace. It touches nothing.
func New(ns *namespace.Namespace, own iptables.Ownership) *Backend {
	return &Backend{namespace: ns, own: own}
}

// NewNative returns the backend of the native form. It touches nothing.
func NewNative(ns *namespace.Namespace, own iptables.Ownership) *Backend {
	return &Backend{namespace: ns, own: own, native: true}
}

// Name returns "iptables-nft" or, for the native form, "nftables".
func (b *Backend) Name() string {
	if b.native {
		return "nftables"
	}
	return "iptables-nft"
}

// Ownership tells which of the rules are ours.
func (b *Backend) Ownership() iptables.Ownership { return b.own }

// Form returns a plan in the words of the backend's form: what Replace takes and
// Load returns.
func (b *Backend) Form(plan iptables.Plan) iptables.Ruleset {
	if b.native {
		return form.Native(plan)
	}
	return form.IPTables(plan)
}

// Read returns what both forms have that is not empty, and the base chains of others, as
// they were at one moment. It changes nothing: no table, chain or module comes to life by
// it. Refusals of the kernel are an *[Error], which is [ErrMissing] where it has no
// nf_tables.
//
// The native form is that of one table, told as those of the model. The other has
// the tables that iptables uses, of both families, in the order and with the built-in
// chains that iptables-nft-save prints, and with counters.
//
// A match or target that the model does not have, of xtables or of nf_tables,
// is an [iptables.UnknownMatch] or [iptables.UnknownTarget] whose words hold its
// bytes.
func Read(ctx context.Context, ns *namespace.Namespace, own iptables.Ownership) (have installed.Namespace, err error) {
	err = connected(ctx, ns, func(c *netlink.Conn) error {
		s, err := takeSnapshot(ctx, c, own)
		if err != nil {
			return err
		}
		for _, b := range []*Backend{New(ns, own), NewNative(ns, own)} {
			if of := b.of(s); len(of.Rules.Tables) > 0 || len(of.Faults) > 0 {
				have.Backends = append(have.Backends, of)
			}
		}
		have.Ownership, have.Chains, have.Token = own, s.chains(), s
		return nil
	})
	return have, err
}

// Load returns what [Read] does of the backend's form, which may be nothing.
func (b *Backend) Load(ctx context.Context) (have installed.Backend, err error) {
	err = connected(ctx, b.namespace, func(c *netlink.Conn) error {
		s, err := takeSnapshot(ctx, c, b.own)
		if err != nil {
			return err
		}
		have = b.of(s)
		return nil
	})
	return have, err
}

// Replace makes what is ours in the kernel into want in one transaction.
//
// It starts from what was read, by the token of have, and reads again only where the
// kernel says that somebody has changed something since: the result is want, whatever
// have is, as it is of several copies with the same want that run at once. A chain of
// ours that is right already keeps its counters, and so do jumps to our chains if those
// of a built-in chain are the right ones in the right order; otherwise they go to the end
// of that chain. Nothing is sent if nothing is to be changed.
//
// With a want without tables everything of ours goes: our chains, the jumps into
// them, and the tables and built-in chains that Replace itself had to create, as
// long as nothing foreign is in them.
//
// Errors are a *[ReplaceError], and in it for refusals of the kernel an *[Error].
func (b *Backend) Replace(ctx context.Context, have installed.Backend, want iptables.Ruleset) error {
	return b.replace(ctx, have, want, false)
}

// Take is Replace, and removes what is ours in the other form in the same
// transaction. Of copies that run at once in both forms the last one's rules stand, so
// that for the others the result is not want.
func (b *Backend) Take(ctx context.Context, have installed.Backend, want iptables.Ruleset) error {
	return b.replace(ctx, have, want, true)
}

func (b *Backend) replace(ctx context.Context, have installed.Backend, want iptables.Ruleset, alone bool) error {
	if err := b.onlyOurs(want); err != nil {
		return err
	}
	s, _ := have.Token.(*snapshot)
	lost := 0
	for attempt := 1; ; attempt++ {
		err := b.replaceOnce(ctx, s, want, alone)
		if err == nil {
			return nil
		}
		s = nil
		again := isTransient(err) && attempt < maxAttempts
		if errors.Is(err, netlink.ErrNoAnswer) {
			// The next attempt finds out what became of it.
			lost++
			again = lost < maxLostAnswers
		}
		if !again || !pause(ctx, attempt) {
			return &ReplaceError{Err: err, Unknown: lost > 0}
		}
	}
}

// maxLostAnswers bounds how often an answer is waited for in vain.
const maxLostAnswers = 3

// pause keeps copies that started at once from going on in step. It returns
// false when the context has ended.
func pause(ctx context.Context, attempt int) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(rand.N(time.Duration(attempt) * time.Millisecond)):
		return true
	}
}

// replaceOnce changes the kernel from what it held at the snapshot, or from what it holds
// now if that is nil or has been changed from.
func (b *Backend) replaceOnce(ctx context.Context, s *snapshot, want iptables.Ruleset, alone bool) error {
	return connected(ctx, b.namespace, func(c *netlink.Conn) (err error) {
		if s == nil || s.written {
			if s, err = takeSnapshot(ctx, c, b.own); err != nil {
				return err
			}
		}
		changes := tables.NewChanges(c, s.generation)
		own, other := b.forms(s)
		if err := own.Changes(changes, want); err != nil {
			return err
		}
		if alone {
			if err := other.Changes(changes, iptables.Ruleset{}); err != nil {
				return err
			}
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

// connected calls do with the namespace's connection, and says more of what the kernel
// refuses.
func connected(ctx context.Context, ns *namespace.Namespace, do func(*netlink.Conn) error) error {
	c, err := ns.Netfilter()
	if err != nil {
		return err
	}
	return described(ctx, c, do(c))
}

// onlyOurs refuses a wanted ruleset in which anything but our chains and jumps
// into them is asked for.
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
