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
// The packages inside it, each of which imports only those before it, are
//
//   - netlink: messages, questions, lists and transactions;
//   - expression: what both forms share of the expressions of a rule;
//   - tables: tables, chains and rules around the expressions;
//   - compat: the form of iptables-nft, and native: nf_tables' own.
//
// This one reads both forms at one generation, changes both in one transaction, and
// says what a refusal of the kernel means. nft --debug=netlink list ruleset shows
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
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
)

// Backend reaches the rules over netlink. Its methods act on the network
// namespace that the calling thread is in.
type Backend struct {
	dial func() (netlink.Socket, error)
	// native selects the form.
	native bool
}

// New returns the backend of the form that iptables lists. It touches nothing.
func New() *Backend { return &Backend{dial: dialKernel} }

// NewNative returns the backend of the native form. It touches nothing.
func NewNative() *Backend { return &Backend{dial: dialKernel, native: true} }

func dialKernel() (netlink.Socket, error) { return netlink.Dial() }

// Name returns "iptables-nft" or, for the native form, "nftables".
func (b *Backend) Name() string {
	if b.native {
		return "nftables"
	}
	return "iptables-nft"
}

// Form returns a plan in the words of the backend's form: what Replace takes and
// Load returns.
func (b *Backend) Form(plan iptables.Plan) iptables.Ruleset {
	if b.native {
		return form.Native(plan)
	}
	return form.IPTables(plan)
}

// Load of the native form returns its one table as those of the model. Of the
// other form it returns the tables that iptables uses, of both families, as they were at
// one moment, in the order and with the built-in chains that iptables-nft-save
// prints, and with counters. Other tables of nf_tables are left out.
//
// A match or target that the model does not have, of xtables or of nf_tables,
// is an [iptables.UnknownMatch] or [iptables.UnknownTarget] whose words hold its
// bytes. Refusals of the kernel are an *[Error].
func (b *Backend) Load(ctx context.Context) (have installed.Backend, err error) {
	err = b.connected(func(c *netlink.Conn) error {
		s, err := takeSnapshot(ctx, c, scope{compat: !b.native, native: b.native, sets: b.native})
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
// It works from what the kernel holds when it is called, not from have: if
// another program has changed the rules since Load, the result is still want,
// as it is of several copies with the same want that run at once. A chain of ours
// that is right already keeps its counters, and so do jumps to our chains if
// those of a built-in chain are the right ones in the right order; otherwise they
// go to the end of that chain. Nothing is sent if nothing is to be changed.
//
// With a want without tables everything of ours goes: our chains, the jumps into
// them, and the tables and built-in chains that Replace itself had to create, as
// long as nothing foreign is in them.
//
// Errors are a *[ReplaceError], and in it for refusals of the kernel an *[Error].
func (b *Backend) Replace(ctx context.Context, have, want iptables.Ruleset) error {
	return b.replace(ctx, want, false)
}

// Take is Replace, and removes what is ours in the other form in the same
// transaction. Of copies that run at once in both forms the last one's rules stand, so
// that for the others the result is not want.
func (b *Backend) Take(ctx context.Context, want iptables.Ruleset) error {
	return b.replace(ctx, want, true)
}

func (b *Backend) replace(ctx context.Context, want iptables.Ruleset, alone bool) error {
	if err := onlyOurs(want); err != nil {
		return err
	}
	lost := 0
	for attempt := 1; ; attempt++ {
		err := b.replaceOnce(ctx, want, alone)
		if err == nil {
			return nil
		}
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

func (b *Backend) replaceOnce(ctx context.Context, want iptables.Ruleset, alone bool) error {
	return b.connected(func(c *netlink.Conn) error {
		s, err := takeSnapshot(ctx, c, scope{
			compat: !b.native || alone, native: b.native || alone,
			sets: b.native && len(want.Tables) > 0,
		})
		if err != nil {
			return err
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
		return c.Commit(changes.Batch)
	})
}

func (b *Backend) connected(do func(*netlink.Conn) error) error {
	s, err := b.dial()
	if err != nil {
		return fmt.Errorf("failed to open a netlink socket: %w", err)
	}
	c := netlink.NewConn(s)
	return errors.Join(described(c, do(c)), s.Close())
}

// onlyOurs refuses a wanted ruleset in which anything but our chains and jumps
// into them is asked for.
func onlyOurs(want iptables.Ruleset) error {
	for _, t := range want.Tables {
		for _, c := range t.Chains {
			if iptables.IsOwn(c.Name) {
				continue
			}
			for _, r := range c.Rules {
				if !r.JumpsIntoOwn() {
					return fmt.Errorf("table %s, chain %s, rule %s: not ours to write",
						tables.Key{Family: t.Family, Name: t.Name}, c.Name, r)
				}
			}
		}
	}
	return nil
}
