package pod

import (
	"context"

	"github.com/meshtables/meshtables/iptables/foreign"
	"github.com/meshtables/meshtables/iptables/kernel"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// Warnings say what an answer about the rules of one backend leaves out.
func (f *Found) Warnings() []string {
	warnings := unread(&f.Installed)
	if len(f.Ours) > 1 {
		warnings = append(warnings, "there are rules in more than one backend, and packets meet all of them\n"+
			"hint: apply again to keep the rules of one backend only")
	}
	return warnings
}

// unread warns of what could not be read.
func unread(found *kernel.Installed) []string {
	if found.Unread == nil {
		return nil
	}
	return []string{"there may be more rules: " + found.Unread.Error()}
}

// afterwards warns, after a change, of what foreign rules do to the traffic that ours should
// capture. It does not reorder them.
func afterwards(ctx context.Context, ns *namespace.Namespace, p *Plan, choice kernel.Choice, report kernel.Report) ([]string, error) {
	found, form := report.Before, kernel.FormOf(choice.Backend)
	before := found.Path(form)
	if !foreign.IsOn(&before) && len(p.Routing.Families) == 0 {
		return nil, nil
	}
	if report.Changed {
		var err error
		if found, err = kernel.ReadBy(ctx, ns, choice.Backend); err != nil {
			return nil, err
		}
	}
	path := found.Path(form)
	findings, err := Judge(ctx, ns, p.Policy, &path, p.Host)
	warnings := WarningsOf(findings)
	if there, err := found.Routing(); err == nil {
		warnings = append(warnings, undelivered(there, p.Routing)...)
	}
	return warnings, err
}
