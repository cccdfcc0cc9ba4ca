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
	"github.com/meshtables/meshtables/iptables/namespace"
	"github.com/meshtables/meshtables/iptables/routes"
	"github.com/meshtables/meshtables/iptables/sysctl"
)

// Report is what [Install] and [Remove] did.
type Report struct {
	// Changed says whether anything was changed, apart from the record beside rules: other
	// options may make the same rules.
	Changed bool
	// Before is what was installed before.
	Before Installed
	// Warnings say which settings that are only advised could not be made.
	Warnings []string
	// RemovedFrom are the names of the other backends from which our rules were removed.
	RemovedFrom []string
}

// holding is a backend with its content.
type holding struct {
	// Backend writes rules, and undo writes those of have again. They leave different
	// records, if any.
	Backend
	undo Backend
	have installed.Backend
}

// newHolding returns a backend that leaves the record alone.
func newHolding(b Backend, have installed.Backend) holding { return holding{b, b, have} }

// Install writes the choice's rules and the routing, sets its sysctls, and removes everything
// else of ours, in every backend. The choice's rules have only what is ours.
//
// The record goes with the rules: what is stored in the end is the choice's record, or none
// if the backend uses programs. But if the rules are right already and nothing is recorded,
// that stays so: nobody knows what these rules were asked for with.
//
// Settings that are only advised are made last. If one cannot be made, the report has a
// warning.
//
// Copies that run at the same time take turns, so one of them wins as a whole. Traffic
// that is captured before and after is captured all the time: what packets need is there
// before the rules that send them to it, and goes after those rules. After an error
// everything is as before, unless the error says otherwise.
func Install(ctx context.Context, ns *namespace.Namespace, choice Choice, routing iptables.Routing) (Report, error) {
	unlock, err := lock(ctx, ns, lockWait)
	if err != nil {
		return Report{}, err
	}
	defer unlock()
	found, err := ReadBy(ctx, ns, choice.Backend)
	if err != nil {
		return Report{}, unchanged(err)
	}
	if choice.Check != nil {
		if err := choice.Check(&found); err != nil {
			return Report{}, unchanged(err)
		}
	}
	there, err := found.Routing()
	if err != nil {
		return Report{}, unchanged(err)
	}
	report := Report{Before: found}
	chosen := FormOf(choice.Backend)
	others := found.others(chosen)
	for _, other := range others {
		report.RemovedFrom = append(report.RemovedFrom, other.have.Name)
	}

	sets, err := found.hold(ctx, &choice)
	if err != nil {
		return Report{}, unchanged(err)
	}
	changes, err := there.Diff(routing.WithMembers(choice.held))
	if err != nil {
		return Report{}, unchanged(err)
	}
	needed, advised, err := sysctl.Diff(ns, choice.Sysctls)
	if err != nil {
		return Report{}, unchanged(err)
	}
	steps := sets.before()
	for _, s := range needed {
		steps = append(steps, set(ns, s))
	}
	if additions := changes.Additions(); len(additions) > 0 {
		steps = append(steps, route(ns, additions))
	}
	steps = append(steps, change(&choice, recording(&choice, &found), others)...)
	records := record(&choice, &found)
	steps = append(steps, records...)
	steps = append(steps, sets.after()...)
	if removals := changes.Removals(); len(removals) > 0 {
		steps = append(steps, route(ns, removals))
	}
	report.Changed = len(steps) > len(records) || len(records) > 0 && len(choice.Rules.Tables) == 0
	if err := take(ctx, steps); err != nil {
		return report, err
	}
	report.advise(ns, advised)
	return report, nil
}

// advise makes settings that are only advised, as far as it can.
func (r *Report) advise(ns *namespace.Namespace, settings []sysctl.Change) {
	for _, s := range settings {
		if err := s.Apply(ns); err != nil {
			r.Warnings = append(r.Warnings, s.Without+": "+err.Error())
			continue
		}
		r.Changed = true
	}
}

// others returns the backends, apart from the chosen form, that have rules of ours.
func (i *Installed) others(chosen installed.Form) []holding {
	var others []holding
	for _, b := range i.Own() {
		if b.Form != chosen {
			others = append(others, newHolding(i.backend(b.Form), b))
		}
	}
	return others
}

// change returns the steps that leave the rules in the chosen backend only.
func change(choice *Choice, chosen holding, others []holding) []step {
	rules := choice.Rules
	if chosen.have.Has(&rules) && choice.holds(&chosen.have) {
		return remove(others)
	}
	if len(others) == 0 {
		return rewrite(chosen, rules)
	}
	var steps []step
	first := choice.beside(rules)
	if from, native, ok := movable(chosen.Backend, others, rules); ok {
		steps = append(steps, move(from, native, chosen, first))
		others = slices.DeleteFunc(others, func(o holding) bool { return o.have.Form == from.have.Form })
	} else {
		for i := range others {
			if o := &others[i]; len(rules.Tables) > 0 {
				now := choice.beside(o.have.Own())
				steps = append(steps, between(*o, now)...)
				*o = o.after(now)
			}
		}
		steps = append(steps, rewrite(chosen, first)...)
	}
	steps = append(steps, remove(others)...)
	return append(steps, between(chosen.after(first), rules)...)
}

// after returns the backend's content after its rules were replaced, as the next change
// needs it.
func (h holding) after(rules iptables.Ruleset) holding {
	return newHolding(h.Backend, installed.Backend{Rules: rules, Ownership: h.have.Ownership})
}

// rewrite returns the steps from a backend's content to the wanted rules.
func rewrite(h holding, want iptables.Ruleset) []step {
	if held, ok := handover(h.have.Ownership, h.have.Rules, want); ok {
		return []step{replace(h, held), replace(h.after(held), want)}
	}
	return []step{replace(h, want)}
}

// between returns the step from a backend's content to the wanted rules, if they differ.
func between(h holding, want iptables.Ruleset) []step {
	if own, wanted := h.have.Own(), h.have.Ownership.Of(want); own.Equal(&wanted) {
		return nil
	}
	return []step{replace(h, want)}
}

func remove(all []holding) []step {
	var steps []step
	for _, h := range all {
		steps = append(steps, replace(h, iptables.Ruleset{}))
	}
	return steps
}

// Remove removes everything that is ours, from every backend, and the record. Sysctls stay:
// nobody knows what they were before.
func Remove(ctx context.Context, ns *namespace.Namespace, choice Choice) (Report, error) {
	choice.Rules, choice.Records, choice.Check, choice.Sysctls = iptables.Ruleset{}, nil, nil, nil
	return Install(ctx, ns, choice, iptables.Routing{})
}

// step is a change that can be undone. If do fails, it has changed nothing, or the error
// says what.
type step struct {
	do, undo func(context.Context) error
}

// take makes all changes or, if one fails, undoes those before it. If one of these cannot
// be undone, those before it stay too: they may be all that captures connections now.
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
				errs = append(errs, fmt.Errorf("new rules are beside the old ones or in their place, because an earlier change could not be undone: %w", cause(undoErr)))
				break
			}
		}
		return errors.Join(errs...)
	}
	return nil
}

// cause returns why rules could not be replaced, without the words about the old rules:
// here those have been replaced already.
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

func replace(h holding, want iptables.Ruleset) step {
	return step{
		do: func(ctx context.Context) error { return h.Replace(ctx, h.have, want) },
		undo: func(ctx context.Context) error {
			now, err := h.Load(ctx)
			if err != nil {
				return err
			}
			return h.undo.Replace(ctx, now, h.have.Own())
		},
	}
}

func route(ns *namespace.Namespace, changes routes.Changes) step {
	return step{
		do:   func(ctx context.Context) error { return unchanged(changes.Apply(ctx, ns)) },
		undo: func(ctx context.Context) error { return changes.Undo(ctx, ns) },
	}
}

func set(ns *namespace.Namespace, c sysctl.Change) step {
	return step{
		do:   func(context.Context) error { return unchanged(c.Apply(ns)) },
		undo: func(context.Context) error { return c.Undo(ns) },
	}
}

// unchanged adds to an error how things stand, as a [Backend] does to its own.
func unchanged(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("nothing was changed: %w", err)
}
