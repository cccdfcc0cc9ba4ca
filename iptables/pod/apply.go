package pod

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// Applied says what applying, or removing, did.
type Applied struct {
	// Candidates are the backends that were considered. It is set with an error too.
	Candidates []kernel.Candidate
	// Backend is the name of the backend that has the rules.
	Backend string
	// Rules is the number of rules, in the backend's form.
	Rules int
	// Changed reports whether anything was changed. That other options were asked for, which
	// make the same rules, is no change.
	Changed bool
	// MovedFrom are the names of other backends that had our rules until now.
	MovedFrom []string
	// Warnings are about rules that may be left, and foreign rules before ours.
	Warnings []string
}

// Applying says how to apply.
type Applying struct {
	// Backend is one of [kernel.Names].
	Backend string
	// Policies are all that there are. What any of them owns goes, unless it is in the plan.
	Policies capture.Policies
	// ReplaceOthers says that so do the rules of another policy than the plan's. Without it
	// they are an error.
	ReplaceOthers bool
	// Unjudged leaves out the warnings about what foreign rules do; see [Compare].
	Unjudged bool
}

// Apply installs the plan in the namespace and removes everything else of ours. With the
// rules it stores what was asked for, where the backend can; see [installed.Record]. On an error
// everything is as it was before, unless the error says otherwise.
func Apply(ctx context.Context, ns *namespace.Namespace, p *Plan, how Applying) (Applied, error) {
	own := how.Policies.Ownership()
	choice, err := kernel.Choose(ctx, ns, own, how.Backend, p.Rules)
	applied := Applied{Candidates: choice.Candidates}
	if err != nil {
		return applied, fmt.Errorf("nothing was changed: %w", err)
	}
	choice.Records = installed.Records{p.Policy.Name(): installed.NewRecord(p.Wanted.Arguments(), own.Of(choice.Rules))}
	choice.Check = func(found *kernel.Installed) error { return how.check(p.Policy, found) }
	choice.Sets, choice.Sysctls = p.Sets, p.Sysctls
	report, err := kernel.Install(ctx, ns, choice, p.Routing)
	if err != nil {
		return applied, err
	}
	applied.Backend, applied.Rules = choice.Backend.Name(), choice.Rules.Len()
	applied.Changed, applied.MovedFrom = report.Changed, report.RemovedFrom
	applied.Warnings = slices.Concat(unread(&report.Before), report.Warnings)
	if how.Unjudged {
		return applied, nil
	}
	judged, err := afterwards(ctx, ns, p, choice, report)
	applied.Warnings = append(applied.Warnings, judged...)
	if err != nil {
		// The rules are installed.
		applied.Warnings = append(applied.Warnings, "cannot tell what foreign rules do: "+err.Error())
	}
	return applied, nil
}

// check returns an error if rules of another policy are installed that are not to be replaced.
func (how Applying) check(p capture.Policy, found *kernel.Installed) error {
	if how.ReplaceOthers {
		return nil
	}
	if b, other, ok := installedOther(how.Policies, p, found.Own()); ok {
		return fmt.Errorf("the rules here (%s) are those of %s, and these are of %s\n"+
			"hint: replace them, in one step, with --replace-dataplane", b.Name, capture.Title(other), capture.Title(p))
	}
	return nil
}

// installedOther returns the first backend with rules of another policy.
func installedOther(policies capture.Policies, p capture.Policy, backends []installed.Backend) (b installed.Backend, other capture.Policy, ok bool) {
	for _, b := range backends {
		if other, ok := policies.Other(p, &b.Rules); ok {
			return b, other, true
		}
	}
	return b, nil, false
}

// Remove removes everything that is ours, from every backend, and the record. Sets go with
// the rules that look them up or, with sets, in any case.
func Remove(ctx context.Context, ns *namespace.Namespace, own iptables.Ownership, backend string, sets bool) (Applied, error) {
	choice, err := kernel.Choose(ctx, ns, own, backend, iptables.Plan{})
	removed := Applied{Candidates: choice.Candidates}
	if err != nil {
		return removed, fmt.Errorf("nothing was changed: %w", err)
	}
	if sets {
		choice.Sets = func([]iptables.AddressSet) []iptables.AddressSet { return nil }
	}
	report, err := kernel.Remove(ctx, ns, choice)
	if err != nil {
		return removed, err
	}
	removed.Changed, removed.MovedFrom = report.Changed, report.RemovedFrom
	removed.Warnings = unread(&report.Before)
	return removed, nil
}

// Removable is what [Remove] would remove.
type Removable struct {
	// Backends are those that have something of ours.
	Backends []installed.Backend
	// Routing are the commands of ip(8) that would remove our routing.
	Routing []string
	// Warnings are about rules that could not be read.
	Warnings []string
	// Candidates are the candidates of [Found].
	Candidates []kernel.Candidate
}

// FindRemovable reads what [Remove] would remove. It changes nothing.
func FindRemovable(ctx context.Context, ns *namespace.Namespace, own iptables.Ownership, backend string) (Removable, error) {
	f, err := Find(ctx, ns, own, backend)
	r := Removable{Candidates: f.Candidates}
	if err != nil {
		return r, err
	}
	there, err := f.Routing()
	if err != nil {
		return r, err
	}
	changes, err := there.Diff(iptables.Routing{})
	if err != nil {
		return r, err
	}
	for _, change := range changes {
		r.Routing = append(r.Routing, change.String())
	}
	r.Backends, r.Warnings = f.Ours, unread(&f.Installed)
	return r, nil
}

// RefuseHost returns an error if the namespace looks like a whole machine's, so that a slip
// does not cut a node off.
func RefuseHost(ns *namespace.Namespace, p *Plan) error {
	own, err := host.OwnedByInit(ns)
	if err != nil || !own {
		return err
	}
	rules := p.Ruleset()
	return fmt.Errorf("nothing was changed: this looks like a whole machine's network namespace, "+
		"and %d rules would send the machine's own connections (%s) to a proxy\n"+
		"hint: name a pod's namespace with --network-namespace, see the rules with --dry-run, "+
		"or apply here anyway with --host-network",
		rules.Len(), strings.Join(FamilyNames(p.Rules.Families), " and "))
}
