// Package keep keeps what a plan asks for in a network namespace: it listens to what changes
// there, compares, and puts back what is missing.
//
// The kernel reports each transaction of nf_tables, and each change of policy rules and routes.
// It reports no change of legacy tables and of ipsets, so everything is compared now and then
// too.
package keep

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/namespace"
	"github.com/meshtables/meshtables/iptables/pod"
)

// Keeper keeps a plan in place.
type Keeper struct {
	Namespace *namespace.Namespace
	// Policies are all that there are.
	Policies capture.Policies
	// Backend has the rules, one of the names of --backend except auto.
	Backend string
	// Plan is what is wanted.
	Plan pod.Plan
	// Follow says that whoever asks for other options meanwhile, by another run of the program,
	// gets them: what is recorded counts. MayMove says the same of where the rules are.
	Follow, MayMove bool
	// Every is how often everything is compared although nothing was reported.
	Every time.Duration
	// Tell is told what was done.
	Tell func(Event)

	pace  pace
	state atomic.Pointer[string]
	told  string
}

// Event is something that was done, or could not be.
type Event struct {
	// Missing says how what was found differed, in a few words each.
	Missing []string
	// By are the programs that changed something since everything was as wanted last, as far
	// as the kernel says.
	By []string
	// Backend has the rules that were put back.
	Backend string
	// Rest, unless it is 0, is how long the next restoration is put off, because somebody
	// takes away what was put back again and again.
	Rest time.Duration
	// Err is why it could not be done.
	Err error
}

// Check returns why what is installed was not as wanted when it was compared last, or nil.
func (k *Keeper) Check() error {
	switch why := k.state.Load(); {
	case why == nil:
		return errors.New("nothing was compared yet")
	case *why != "":
		return errors.New(*why)
	}
	return nil
}

// retry is how soon to try again what has failed.
const retry = time.Second

// Run keeps the plan in place until the context is done, and leaves it there. It returns an
// error if it cannot listen.
func (k *Keeper) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	reports := newReports()
	end, err := reports.listen(ctx, k.Namespace, k.Policies.Ownership(), cancel)
	if err != nil {
		return err
	}
	defer end()
	for {
		wait := k.Every
		if !k.mend(ctx, reports) {
			wait = min(wait, retry)
		}
		reports.await(ctx, wait)
		if ctx.Err() != nil {
			break
		}
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// mend compares and puts back what is missing. It reports whether everything is as wanted,
// as far as it knows.
func (k *Keeper) mend(ctx context.Context, reports *reports) bool {
	v, err := k.compare(ctx)
	event := Event{By: reports.authors()}
	if err == nil && !v.IsAsWanted() {
		event.Missing = v.Words()
		k.state.Store(new(strings.Join(event.Missing, "; ")))
		if event.Rest = k.pace.next(time.Now()); event.Rest > 0 {
			k.Tell(event)
			sleep(ctx, event.Rest)
			event.Rest = 0
			// What is missing now may be something else.
			v, err = k.compare(ctx)
		}
	}
	restored := err == nil && !v.IsAsWanted()
	if restored {
		event.Missing = v.Words()
		event.Backend, err = k.apply(ctx)
	}
	switch {
	case ctx.Err() != nil:
		return false
	case err != nil:
		event.Err = err
		k.fail(event)
		return false
	}
	// Including what this run will be told of itself.
	reports.forget()
	k.done("")
	if restored {
		k.Tell(event)
	}
	return true
}

// done remembers how things stand.
func (k *Keeper) done(why string) {
	k.state.Store(&why)
	k.told = why
}

// fail tells why it could not be done, the same reason in a row once.
func (k *Keeper) fail(event Event) {
	known := k.told
	k.done(event.Err.Error())
	if k.told != known {
		k.Tell(event)
	}
}

// compare compares. Where the rules were moved meanwhile, that is where they are to be, if they
// may move.
func (k *Keeper) compare(ctx context.Context) (pod.Verification, error) {
	v, err := k.compareIn(ctx, k.Backend)
	if err != nil || !k.MayMove || len(v.Elsewhere) != 1 {
		return v, err
	}
	moved, err := k.compareIn(ctx, v.Elsewhere[0].Backend)
	if err != nil || len(moved.Rules)+len(moved.Elsewhere) > 0 {
		return v, err
	}
	k.Backend = moved.Backend
	return moved, nil
}

func (k *Keeper) compareIn(ctx context.Context, backend string) (pod.Verification, error) {
	f, err := pod.FindAll(ctx, k.Namespace, k.Policies.Ownership(), backend)
	if err != nil {
		return pod.Verification{}, err
	}
	if k.Follow {
		if err := k.follow(ctx, &f); err != nil {
			return pod.Verification{}, err
		}
	}
	return pod.Compare(ctx, k.Namespace, &f, k.Policies, &k.Plan)
}

// follow takes what is recorded for what is wanted. What the plan found in the namespace may
// have changed too, such as whether that has IPv6.
func (k *Keeper) follow(ctx context.Context, f *pod.Found) error {
	wanted := k.Plan.Wanted
	if recorded := f.Asked(k.Plan.Policy).Wanted; recorded != nil {
		wanted = recorded
	}
	p, err := pod.NewPlan(ctx, k.Namespace, k.Plan.Policy, wanted)
	if err != nil {
		return err
	}
	p.Sets = k.Plan.Sets
	k.Plan = p
	return nil
}

func (k *Keeper) apply(ctx context.Context) (backend string, err error) {
	applied, err := pod.Apply(ctx, k.Namespace, &k.Plan, pod.Applying{Backend: k.Backend, Policies: k.Policies, Unjudged: true})
	return applied.Backend, err
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
