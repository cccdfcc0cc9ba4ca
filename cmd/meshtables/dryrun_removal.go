package main

import (
	"context"
	"fmt"
	"io"

	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/pod"
)

// printRemoval shows what --cleanup-only would remove, and touches nothing.
func (c *command) printRemoval(ctx context.Context) int {
	found, err := pod.FindRemovable(ctx, c.namespace, policies().Ownership(), c.backend)
	c.debug(found.Candidates)
	if err != nil {
		return c.failed(err)
	}
	c.warn(found.Warnings)
	a := plannedRemoval{Rules: []plannedRule{}, Routing: append([]string{}, found.Routing...)}
	for _, b := range found.Backends {
		b.Rules = pod.Recognise(c.installedPolicy(&b.Rules), &b).Rules
		a.add(&b)
	}
	return c.print(a)
}

// plannedRemoval is the answer of --dry-run with --cleanup-only.
type plannedRemoval struct {
	Rules   []plannedRule `json:"rules"`
	Routing []string      `json:"routing"`
	// Faults are about tables of ours that would be removed.
	Faults []string `json:"faults,omitempty"`
}

// add adds what is ours in a backend. Positions count foreign rules too.
func (a *plannedRemoval) add(b *installed.Backend) {
	for _, fault := range b.Faults {
		a.Faults = append(a.Faults, b.Name+": "+fault.Text)
	}
	for _, own := range b.Own().Tables {
		t := b.Rules.Table(own.Family, own.Name)
		for _, chain := range own.Chains {
			for i, r := range t.Chain(chain.Name).Rules {
				if b.Ownership.OwnsRule(chain.Name, r) {
					a.Rules = append(a.Rules, plannedRule{b.Name, t.Family.String(), t.Name, chain.Name, i + 1, r.String(), r.Origin.String()})
				}
			}
		}
	}
}

// text prints the rules under a line for each table, and the rest as comments.
func (a plannedRemoval) text(w io.Writer) {
	if len(a.Rules) == 0 && len(a.Routing) == 0 && len(a.Faults) == 0 {
		fmt.Fprintln(w, "nothing to remove")
		return
	}
	fmt.Fprintln(w, "# would be removed")
	at := ""
	for _, r := range a.Rules {
		if table := fmt.Sprintf("# %s, %s\n*%s\n", r.Backend, r.Family, r.Table); table != at {
			fmt.Fprint(w, table)
			at = table
		}
		fmt.Fprintf(w, "-A %s %s\n", r.Chain, r.Rule)
	}
	for _, command := range a.Routing {
		fmt.Fprintf(w, "# %s\n", command)
	}
	for _, fault := range a.Faults {
		fmt.Fprintf(w, "# %s\n", fault)
	}
}
