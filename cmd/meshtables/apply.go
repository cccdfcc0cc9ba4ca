package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/foreign"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel"
)

// plan is what is to be captured, and why.
type plan struct {
	cfg   wanted
	facts host.Host
	capture.Capture
}

// rules returns what is to be captured as rules of iptables.
func (p plan) rules() iptables.Ruleset { return form.IPTables(p.Rules) }

// plan reads the options and the host and returns what follows from them. The
// exit status is not exitDone where there is nothing to go on with.
func (c *command) plan() (p plan, status int) {
	var err error
	if p.cfg, err = c.line.readConfig(c.options, c.env, c.log); err != nil {
		return p, c.usageError(err)
	}
	needed, instead := p.cfg.NeedsNameServers()
	resolvConf, known := c.place.resolvConf(needed)
	if p.facts, err = host.Discover(resolvConf); err != nil {
		return p, c.failed(err)
	}
	if !known {
		c.log.Warn(fmt.Sprintf("the captured name servers are this machine's (%s), as no process in the network namespace tells of others\n"+
			hintPrefix+"name a process of the pod with --network-namespace, or %s", resolvConf, instead))
	}
	p.Capture = p.cfg.Plan(p.facts)
	for _, w := range p.Warnings {
		c.log.Warn(w)
	}
	for _, line := range p.cfg.Found(p.facts, resolvConf) {
		c.log.Debug(line)
	}
	if err := p.Rules.Validate(); err != nil {
		return p, c.failed(fmt.Errorf("nothing was changed, as the kernel would not take these rules: %w", err))
	}
	return p, exitDone
}

// change is the verb that needs no word.
func (c *command) change(ctx context.Context) int {
	switch {
	case c.cleanupOnly:
		return c.cleanup(ctx)
	case c.dryRun:
		return c.printPlan()
	default:
		return c.apply(ctx)
	}
}

// printPlan shows the rules and touches nothing.
func (c *command) printPlan() int {
	p, status := c.plan()
	if status != exitDone {
		return status
	}
	if c.backend == kernel.Native {
		c.log.Info("--dry-run prints rules as iptables-nft has them; those of nftables look different, and do the same to every packet")
	}
	rules, err := newPlannedRules(p.rules(), p.Routing)
	if err != nil {
		return c.failed(err)
	}
	if c.output != outputText {
		rules = rules.listed()
	}
	return c.print(rules)
}

func (c *command) apply(ctx context.Context) int {
	p, status := c.plan()
	if status != exitDone {
		return status
	}
	planned := p.rules()
	answer := outcome{Result: "not applied", Families: familyNames(p.Rules.Families), Rules: planned.Len()}
	if !c.skipRuleApply {
		if err := c.checkIDs(p.cfg.IDs()); err != nil {
			return c.usageError(err)
		}
		if err := c.install(ctx, p, &answer); err != nil {
			return c.failed(err)
		}
	}
	if c.runValidation {
		var err error
		if answer.Validation, err = c.try(ctx, planned, p.facts.Addresses); err != nil {
			return c.failed(err)
		}
	}
	return c.printSteps(answer, answer.Validation)
}

// install makes the kernel hold the plan and tells the answer what it did.
func (c *command) install(ctx context.Context, p plan, answer *outcome) error {
	if err := c.refuseHost(p); err != nil {
		return err
	}
	choice, err := c.choose(ctx, p.Rules)
	if err != nil {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	report, err := kernel.Install(ctx, choice, p.Routing)
	if err != nil {
		return err
	}
	c.warnUnseen(report)
	if err := c.warnOthers(ctx, choice, report); err != nil {
		// The rules stand as asked for.
		c.log.Warn("it cannot be told whether rules of others come first: " + err.Error())
	}
	answer.Backend, answer.Result = choice.Backend.Name(), "unchanged"
	answer.Rules = choice.Rules.Len()
	if report.Changed {
		answer.Result = "applied"
	}
	answer.MovedFrom = report.RemovedFrom
	return nil
}

// refuseHost keeps a slip on a node from cutting the node off.
func (c *command) refuseHost(p plan) error {
	if c.hostNetwork {
		return nil
	}
	own, err := host.OwnedByInit()
	if err != nil || !own {
		return err
	}
	rules := p.rules()
	return fmt.Errorf("this looks like the network namespace of a whole machine, so nothing was changed: "+
		"%d rules would have sent the machine's own connections (%s) to a proxy\n"+
		hintPrefix+"name a pod's namespace with --network-namespace, or show the rules with --dry-run; "+
		"--host-network applies them here all the same",
		rules.Len(), strings.Join(familyNames(p.Rules.Families), " and "))
}

func (c *command) choose(ctx context.Context, want iptables.Plan) (kernel.Choice, error) {
	choice, err := kernel.Choose(ctx, c.backend, want, c.place.programOptions())
	for _, candidate := range choice.Candidates {
		c.log.Debug(candidate.String())
	}
	return choice, err
}

func (c *command) warnUnseen(report kernel.Report) {
	if report.Unseen != nil {
		c.log.Warn("rules may be left: " + report.Unseen.Error())
	}
}

// warnOthers tells of rules that are there and see no packet for the proxy, and of
// what may keep packets from them. Foreign rules are not ours to reorder.
func (c *command) warnOthers(ctx context.Context, choice kernel.Choice, report kernel.Report) error {
	around, err := kernel.Around(ctx, choice.Backend, choice.Rules)
	if err != nil {
		return err
	}
	c.warnFirst(around)
	have := report.Before
	if !foreign.IsIn(&have.Rules) && len(around.Before.Tables) == 0 {
		return nil
	}
	if report.Changed {
		if have, err = choice.Backend.Load(ctx); err != nil {
			return err
		}
	}
	path := installed.Path{Rules: have.Rules, Before: around.Before, Faults: have.Faults}
	for i := range path.Rules.Tables {
		t := &path.Rules.Tables[i]
		for _, s := range foreign.Shadows(&path, t) {
			c.log.Warn(fmt.Sprintf("%s %s %s, rule %d (%s) sees no packet for the proxy, behind the foreign %s",
				t.Family, s.Table, s.Chain, s.Position, s.Rule.Rule, s.By))
		}
	}
	return nil
}

func (c *command) cleanup(ctx context.Context) int {
	choice, err := c.choose(ctx, iptables.Plan{})
	if err != nil {
		return c.failed(fmt.Errorf("nothing was changed: %w", err))
	}
	report, err := kernel.Remove(ctx, choice)
	if err != nil {
		return c.failed(err)
	}
	c.warnUnseen(report)
	answer := outcome{Result: "nothing to remove"}
	if report.Changed {
		answer.Result = "removed"
	}
	return c.print(answer)
}

func familyNames(families []iptables.Family) []string {
	var names []string
	for _, f := range families {
		names = append(names, f.String())
	}
	return names
}
