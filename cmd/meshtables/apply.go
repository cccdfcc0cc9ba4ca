package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/capture/ambient/node"
	"github.com/meshtables/meshtables/iptables/pod"
	"github.com/meshtables/meshtables/iptables/probe"
)

// change runs the program without a verb.
func (c *command) change(ctx context.Context) int {
	switch {
	case c.cleanupOnly && c.dryRun:
		return c.printRemoval(ctx)
	case c.cleanupOnly:
		return c.cleanup(ctx)
	case c.dryRun:
		return c.printPlan(ctx)
	default:
		return c.apply(ctx)
	}
}

// plan reads the options and the namespace and returns the plan. If it fails, the exit
// status is not exitDone.
func (c *command) plan(ctx context.Context) (p pod.Plan, status int) {
	cfg, err := c.line.readConfig(c.options, c.env, c.log)
	if err != nil {
		return p, c.usageError(err)
	}
	if p, err = pod.NewPlan(ctx, c.namespace, c.line.policy, cfg); err != nil {
		return p, c.failed(err)
	}
	c.warn(p.Warnings)
	for _, line := range p.Facts() {
		c.log.Debug(line)
	}
	if err := p.Validate(); err != nil {
		return p, c.failed(err)
	}
	return p, exitDone
}

func (c *command) apply(ctx context.Context) int {
	p, status := c.plan(ctx)
	if status != exitDone {
		return status
	}
	answer := outcome{Result: "not applied", Families: pod.FamilyNames(p.Rules.Families)}
	if c.skipRuleApply {
		planned := p.Ruleset()
		answer.Rules = planned.Len()
	} else {
		if err := c.checkIDs(p.Wanted.IDs()); err != nil {
			return c.usageError(err)
		}
		if err := c.install(ctx, &p, &answer); err != nil {
			return c.failed(err)
		}
	}
	if c.runValidation {
		var err error
		if answer.Validation, err = c.try(ctx, p.Ruleset(), p.Host.Addresses); err != nil {
			return c.failed(err)
		}
	}
	return c.printSteps(answer, answer.Validation)
}

// install installs the plan and records in the answer what it did.
func (c *command) install(ctx context.Context, p *pod.Plan, answer *outcome) error {
	if !c.hostNetwork {
		if err := pod.RefuseHost(c.namespace, p); err != nil {
			return err
		}
	}
	return c.installPlan(ctx, p, c.applying(), answer)
}

// applying returns how to apply, by the options.
func (c *command) applying() pod.Applying {
	return pod.Applying{Backend: c.backend, Policies: policies(), ReplaceOthers: c.replaceDataplane}
}

// installPlan is install for a namespace in which the plan may be installed.
func (c *command) installPlan(ctx context.Context, p *pod.Plan, how pod.Applying, answer *outcome) error {
	applied, err := pod.Apply(ctx, c.namespace, p, how)
	c.debug(applied.Candidates)
	if err != nil {
		return err
	}
	c.warn(applied.Warnings)
	answer.Backend, answer.Rules, answer.MovedFrom = applied.Backend, applied.Rules, applied.MovedFrom
	answer.Result = "unchanged"
	if applied.Changed {
		answer.Result = "applied"
	}
	return nil
}

// checkIDs refuses users and groups that no process in the network namespace can be.
func (c *command) checkIDs(named []capture.IDs) error {
	unmapped, err := pod.UnmappedIDs(c.namespace, named)
	if err != nil {
		return err
	}
	var errs []error
	for _, u := range unmapped {
		errs = append(errs, fmt.Errorf("%s: %d does not exist in the user namespace that owns the network namespace\n"+
			hintPrefix+"%s lists the ids that do", cmp.Or(c.line.flags.Given(u.Option), "--"+u.Option), u.ID, u.File))
	}
	return errors.Join(errs...)
}

func (c *command) cleanup(ctx context.Context) int {
	removed, err := pod.Remove(ctx, c.namespace, policies().Ownership(), c.backend, c.line.policy == node.Policy{})
	c.debug(removed.Candidates)
	if err != nil {
		return c.failed(err)
	}
	c.warn(removed.Warnings)
	answer := outcome{Result: "nothing to remove"}
	if removed.Changed {
		answer.Result = "removed"
	}
	return c.print(answer)
}

// outcome is the answer of applying and of removing.
type outcome struct {
	// Result is "applied", "unchanged", "not applied", "removed" or "nothing
	// to remove".
	Result   string   `json:"result"`
	Backend  string   `json:"backend,omitempty"`
	Families []string `json:"families,omitempty"`
	Rules    int      `json:"rules,omitempty"`
	// MovedFrom are the other backends that held rules until now.
	MovedFrom []string `json:"movedFrom,omitempty"`
	// Validation is what --run-validation found.
	Validation []probe.Step `json:"validation,omitempty"`
}

func (o outcome) text(w io.Writer) {
	fmt.Fprint(w, o.Result)
	if len(o.Families) > 0 {
		fmt.Fprintf(w, ": %d rules for %s", o.Rules, strings.Join(o.Families, " and "))
	}
	if o.Backend != "" {
		fmt.Fprintf(w, ", by %s", o.Backend)
	}
	if len(o.MovedFrom) > 0 {
		fmt.Fprintf(w, " (moved from %s)", strings.Join(o.MovedFrom, " and "))
	}
	fmt.Fprintln(w)
	writeSteps(w, o.Validation)
}
