package pod

import (
	"context"
	"fmt"
	"strings"

	"github.com/meshtables/meshtables/iptables"
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
	// Changed reports whether anything was changed.
	Changed bool
	// MovedFrom are the names of other backends that had our rules until now.
	MovedFrom []string
	// Warnings are about rules that may be left, and foreign rules before ours.
	Warnings []string
}

// Apply installs the plan in the namespace and removes everything else of ours. With the
// rules it stores what was asked for, where the backend can; see [installed.Record]. backend is
// one of [kernel.Names]. On an error everything is as it was before, unless the error says
// otherwise.
func Apply(ctx context.Context, ns *namespace.Namespace, p *Plan, backend string) (Applied, error) {
	choice, err := kernel.Choose(ctx, ns, p.Policy.Ownership(), backend, p.Rules)
	applied := Applied{Candidates: choice.Candidates}
	if err != nil {
		return applied, fmt.Errorf("nothing was changed: %w", err)
	}
	choice.Record = installed.NewRecord(p.Wanted.Arguments(), p.Policy.Ownership().Of(choice.Rules))
	report, err := kernel.Install(ctx, ns, choice, p.Routing)
	if err != nil {
		return applied, err
	}
	applied.Backend, applied.Rules = choice.Backend.Name(), choice.Rules.Len()
	applied.Changed, applied.MovedFrom = report.Changed, report.RemovedFrom
	judged, err := afterwards(ctx, ns, p, choice, report)
	applied.Warnings = append(unread(&report.Before), judged...)
	if err != nil {
		// The rules are installed.
		applied.Warnings = append(applied.Warnings, "cannot tell what foreign rules do: "+err.Error())
	}
	return applied, nil
}

// Remove removes everything that is ours, from every backend, and the record.
func Remove(ctx context.Context, ns *namespace.Namespace, own iptables.Ownership, backend string) (Applied, error) {
	choice, err := kernel.Choose(ctx, ns, own, backend, iptables.Plan{})
	removed := Applied{Candidates: choice.Candidates}
	if err != nil {
		return removed, fmt.Errorf("nothing was changed: %w", err)
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
