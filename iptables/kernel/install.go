package kernel

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables"
	"github.com/meshtables/meshtables/iptables/routes"
)

// Report is what [Install] and [Remove] did.
type Report struct {
	// Changed tells whether anything had to be changed.
	Changed bool
	// Before are the rules that stood in the chosen backend, foreign ones
	// included.
	Before iptables.Ruleset
	// Unseen is about backends that may hold rules of ours but could not be
	// asked, such as legacy tables without the programs that read them; nil if
	// there is none.
	Unseen error
}

// Install makes the network namespace hold these rules and this routing and
// nothing else of ours, in whichever backend it was. rules hold nothing that is
// not ours.
//
// Copies that run at the same time take turns, so one of them has its way as a
// whole. No moment has less captured than both before and after: what packets need is
// there before the rules that send them to it, and goes after them. An error
// means that everything is as it was before, or says that it is not.
func Install(ctx context.Context, choice Choice, rules iptables.Ruleset, routing iptables.Routing) (Report, error) {
	unlock, err := lock(ctx)
	if err != nil {
		return Report{}, err
	}
	defer unlock()
	have, err := choice.Backend.Load(ctx)
	if err != nil {
		return Report{}, unchanged(err)
	}
	rules = choice.Backend.Form(rules)
	others, unseen := choice.Others(ctx)
	changes, err := routes.Diff(ctx, routing)
	if err != nil {
		return Report{}, unchanged(err)
	}

	var steps []step
	if additions := changes.Additions(); len(additions) > 0 {
		steps = append(steps, route(additions))
	}
	haveOwn, want := have.Own(), rules.Own()
	if from, native, ok := movable(choice.Backend, others, rules); ok {
		steps = append(steps, move(from, native, have, rules))
		others = slices.DeleteFunc(others, func(o Installed) bool { return o.Backend == from.Backend })
	} else if !haveOwn.Equal(&want) {
		now := have
		if between, ok := handover(have, rules); ok {
			steps = append(steps, replace(choice.Backend, have, between))
			now = between
		}
		steps = append(steps, replace(choice.Backend, now, rules))
	}
	for _, other := range others {
		steps = append(steps, replace(other.Backend, other.Rules, iptables.Ruleset{}))
	}
	if removals := changes.Removals(); len(removals) > 0 {
		steps = append(steps, route(removals))
	}
	return Report{Changed: len(steps) > 0, Before: have, Unseen: unseen}, take(ctx, steps)
}

// movable returns the rules that can be moved into the native form in one
// transaction, in which the packet path has it behind iptables' form. It is not ok
// the other way round, or where inbound connections go over from REDIRECT to
// TPROXY at the same time: there a packet could be between the two when the
// transaction takes effect, and meet neither. So the new rules are added first
// there, and the old ones removed after.
func movable(chosen Backend, others []Installed, want iptables.Ruleset) (from Installed, native *nftables.Backend, ok bool) {
	native, ok = chosen.(*nftables.Backend)
	if !ok || native.Name() != Native || len(want.Tables) == 0 {
		return from, nil, false
	}
	for _, other := range others {
		if other.Backend.Name() == NFT {
			_, switches := handover(other.Rules, want)
			return other, native, !switches
		}
	}
	return from, nil, false
}

func move(from Installed, native *nftables.Backend, have, want iptables.Ruleset) step {
	return step{
		do: func(ctx context.Context) error { return native.Take(ctx, want) },
		undo: func(ctx context.Context) error {
			return errors.Join(
				from.Backend.Replace(ctx, iptables.Ruleset{}, from.Rules.Own()),
				native.Replace(ctx, want, have.Own()))
		},
	}
}

// Remove removes everything that is ours, from every backend.
func Remove(ctx context.Context, choice Choice) (Report, error) {
	return Install(ctx, choice, iptables.Ruleset{}, iptables.Routing{})
}

// step is a change that can be taken back. A do that fails has changed nothing,
// or says that it has.
type step struct {
	do, undo func(context.Context) error
}

// take makes all changes or, where one fails, takes back those before it.
func take(ctx context.Context, steps []step) error {
	for i, s := range steps {
		err := s.do(ctx)
		if err == nil {
			continue
		}
		errs := []error{err}
		for ; i > 0; i-- {
			if undoErr := steps[i-1].undo(context.WithoutCancel(ctx)); undoErr != nil {
				errs = append(errs, fmt.Errorf("failed to take back an earlier change: %w", undoErr))
			}
		}
		return errors.Join(errs...)
	}
	return nil
}

func replace(b Backend, have, want iptables.Ruleset) step {
	return step{
		do: func(ctx context.Context) error { return b.Replace(ctx, have, want) },
		undo: func(ctx context.Context) error {
			now, err := b.Load(ctx)
			if err != nil {
				return err
			}
			return b.Replace(ctx, now, have.Own())
		},
	}
}

func route(changes routes.Changes) step {
	return step{
		do:   func(ctx context.Context) error { return unchanged(changes.Apply(ctx)) },
		undo: changes.Undo,
	}
}

// unchanged says of an error what a [Backend] says of its own: how things stand.
func unchanged(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("nothing was changed: %w", err)
}
