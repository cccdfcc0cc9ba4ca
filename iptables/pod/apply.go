package pod

import (
	"context"
	"fmt"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/kernel"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// Applied is what applying, or removing, did.
type Applied struct {
	// Candidates are the backends that were considered; they are there with an error too.
	Candidates []kernel.Candidate
	// Backend is the name of the one that has the rules.
	Backend string
	// Rules is how many there are, in its form.
	Rules int
	// Changed tells whether anything had to be changed.
	Changed bool
	// MovedFrom are the names of other backends that held rules of ours until now.
	MovedFrom []string
	// Warnings are about what may be left, and what others have before our rules.
	Warnings []string
}

// Apply makes the namespace hold the plan and nothing else of ours, by the backend of a
// name, one of [kernel.Names]. An error means that everything is as it was before, or says
// that it is not.
func Apply(ctx context.Context, ns *namespace.Namespace, p *Plan, backend string) (Applied, error) {
	choice, err := kernel.Choose(ctx, ns, p.Policy.Ownership(), backend, p.Rules)
	applied := Applied{Candidates: choice.Candidates}
	if err != nil {
		return applied, fmt.Errorf("nothing was changed: %w", err)
	}
	report, err := kernel.Install(ctx, ns, choice, p.Routing)
	if err != nil {
		return applied, err
	}
	applied.Backend, applied.Rules = choice.Backend.Name(), choice.Rules.Len()
	applied.Changed, applied.MovedFrom = report.Changed, report.RemovedFrom
	shadowed, err := afterwards(ctx, ns, choice, report)
	applied.Warnings = append(unread(&report.Before), shadowed...)
	if err != nil {
		// The rules stand as asked for.
		applied.Warnings = append(applied.Warnings, "it cannot be told whether rules of others come first: "+err.Error())
	}
	return applied, nil
}

// Remove removes everything that is ours, from every backend.
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

// RefuseHost keeps a slip on a node from cutting the node off: it returns an error where
// the namespace looks like that of a whole machine.
func RefuseHost(ns *namespace.Namespace, p *Plan) error {
	own, err := host.OwnedByInit(ns)
	if err != nil || !own {
		return err
	}
	rules := p.Ruleset()
	return fmt.Errorf("this looks like the network namespace of a whole machine, so nothing was changed: "+
		"%d rules would have sent the machine's own connections (%s) to a proxy\n"+
		"hint: name a pod's namespace with --network-namespace, or show the rules with --dry-run; "+
		"--host-network applies them here all the same",
		rules.Len(), strings.Join(FamilyNames(p.Rules.Families), " and "))
}
