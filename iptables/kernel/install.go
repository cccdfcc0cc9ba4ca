package kernel

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel/nftables"
	"github.com/meshtables/meshtables/iptables/kernel/xtables"
	"github.com/meshtables/meshtables/iptables/routes"
)

// Report is what [Install] and [Remove] did.
type Report struct {
	// Changed tells whether anything had to be changed.
	Changed bool
	// Before are the rules that stood in the chosen backend, foreign ones
	// included.
	Before installed.Backend
	// RemovedFrom are the names of the other backends that rules of ours were
	// removed from.
	RemovedFrom []string
	// Unseen is about backends that may hold rules of ours but could not be
	// asked, such as legacy tables without the programs that read them; nil if
	// there is none.
	Unseen error
}

// Install makes the network namespace hold the choice's rules and this routing and
// nothing else of ours, in whichever backend it was. The rules hold nothing that is
// not ours.
//
// Copies that run at the same time take turns, so one of them has its way as a
// whole. No moment has less captured than both before and after: what packets need is
// there before the rules that send them to it, and goes after them. An error
// means that everything is as it was before, or says that it is not.
func Install(ctx context.Context, choice Choice, routing iptables.Routing) (Report, error) {
	unlock, err := lock(ctx)
	if err != nil {
		return Report{}, err
	}
	defer unlock()
	have, err := choice.Backend.Load(ctx)
	if err != nil {
		return Report{}, unchanged(err)
	}
	others, unseen, err := choice.Others(ctx)
	if err != nil {
		return Report{}, unchanged(err)
	}
	changes, err := routes.Diff(ctx, routing)
	if err != nil {
		return Report{}, unchanged(err)
	}
	report := Report{Before: have, Unseen: unseen}
	for _, other := range others {
		report.RemovedFrom = append(report.RemovedFrom, other.Backend.Name())
	}

	var steps []step
	if additions := changes.Additions(); len(additions) > 0 {
		steps = append(steps, route(additions))
	}
	steps = append(steps, change(choice.Backend, have, choice.Rules, others)...)
	if removals := changes.Removals(); len(removals) > 0 {
		steps = append(steps, route(removals))
	}
	report.Changed = len(steps) > 0
	return report, take(ctx, steps)
}

// change returns the steps from what stands in the chosen backend and in others to
// rules that stand in the chosen one only.
func change(chosen Backend, found installed.Backend, rules iptables.Ruleset, others []Installed) []step {
	have := found.Rules
	if found.Has(&rules) {
		return remove(others)
	}
	if len(others) == 0 {
		return rewrite(chosen, have, rules)
	}
	var steps []step
	first := sociable(rules)
	if from, native, ok := movable(chosen, others, rules); ok {
		steps = append(steps, move(from, native, have, first))
		others = slices.DeleteFunc(others, func(o Installed) bool { return o.Backend == from.Backend })
	} else {
		for i := range others {
			if o := &others[i]; len(rules.Tables) > 0 {
				now := sociable(o.Have.Rules)
				steps = append(steps, between(o.Backend, o.Have.Rules, now.Own())...)
				o.Have.Rules = now
			}
		}
		steps = append(steps, rewrite(chosen, have, first)...)
	}
	steps = append(steps, remove(others)...)
	return append(steps, between(chosen, first, rules)...)
}

// rewrite returns the steps from one to the other within a backend.
func rewrite(b Backend, have, want iptables.Ruleset) []step {
	if held, ok := handover(have, want); ok {
		return []step{replace(b, have, held), replace(b, held, want)}
	}
	return []step{replace(b, have, want)}
}

// between returns the step from one to the other, if they differ.
func between(b Backend, have, want iptables.Ruleset) []step {
	if own, wantOwn := have.Own(), want.Own(); own.Equal(&wantOwn) {
		return nil
	}
	return []step{replace(b, have, want)}
}

func remove(all []Installed) []step {
	var steps []step
	for _, i := range all {
		steps = append(steps, replace(i.Backend, i.Have.Rules, iptables.Ruleset{}))
	}
	return steps
}

// Remove removes everything that is ours, from every backend.
func Remove(ctx context.Context, choice Choice) (Report, error) {
	choice.Rules = iptables.Ruleset{}
	return Install(ctx, choice, iptables.Routing{})
}

// step is a change that can be taken back. A do that fails has changed nothing,
// or says that it has.
type step struct {
	do, undo func(context.Context) error
}

// take makes all changes or, where one fails, takes back those before it. Where one of
// these cannot be taken back, those before it stay too: what they have put there may
// be all that captures connections now.
func take(ctx context.Context, steps []step) error {
	for i, s := range steps {
		err := s.do(ctx)
		if err == nil {
			continue
		}
		errs := []error{err}
		for ; i > 0; i-- {
			if undoErr := steps[i-1].undo(context.WithoutCancel(ctx)); undoErr != nil {
				errs[0] = cause(err)
				errs = append(errs, fmt.Errorf("new rules stand beside old ones or in their place, for an earlier change could not be taken back: %w", cause(undoErr)))
				break
			}
		}
		return errors.Join(errs...)
	}
	return nil
}

// cause returns why rules could not be replaced, without what is said of the rules that
// stood before: here those have been replaced already.
func cause(err error) error {
	var overNetlink *nftables.ReplaceError
	var byPrograms *xtables.ReplaceError
	switch {
	case errors.As(err, &overNetlink):
		return overNetlink.Err
	case errors.As(err, &byPrograms):
		return byPrograms.Err
	}
	return err
}

func replace(b Backend, have, want iptables.Ruleset) step {
	return step{
		do: func(ctx context.Context) error { return b.Replace(ctx, have, want) },
		undo: func(ctx context.Context) error {
			now, err := b.Load(ctx)
			if err != nil {
				return err
			}
			return b.Replace(ctx, now.Rules, have.Own())
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
