package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel"
	"github.com/meshtables/meshtables/iptables/pod"
)

// printPlan shows the rules and touches nothing.
func (c *command) printPlan(ctx context.Context) int {
	p, status := c.plan(ctx)
	if status != exitDone {
		return status
	}
	if c.backend == kernel.Native {
		c.log.Info("--dry-run prints the rules of iptables-nft; those of nftables look different and do the same to every packet")
	}
	rules, err := c.plannedRules(ctx, &p)
	if err != nil {
		return c.failed(err)
	}
	if c.output != outputText {
		rules = rules.listed()
	}
	return c.print(rules)
}

// plannedRules is the answer of --dry-run.
type plannedRules struct {
	Rules   []plannedRule `json:"rules"`
	Routing []string      `json:"routing"`
	// Sysctls are the commands of sysctl(8) for the settings that go with the rules.
	Sysctls []string `json:"sysctls,omitempty"`

	planned iptables.Ruleset
}

type plannedRule struct {
	// Backend is where a rule is that would be removed.
	Backend  string `json:"backend,omitempty"`
	Family   string `json:"family"`
	Table    string `json:"table"`
	Chain    string `json:"chain"`
	Position int    `json:"position"`
	Rule     string `json:"rule"`
	Origin   string `json:"origin"`
}

func (c *command) plannedRules(ctx context.Context, p *pod.Plan) (plannedRules, error) {
	a := plannedRules{planned: p.Ruleset(), Rules: []plannedRule{}, Routing: []string{}}
	for _, s := range p.Sysctls {
		a.Sysctls = append(a.Sysctls, s.String())
	}
	if c.line.dataplane == ofNode {
		p.Sets = c.hostOptions.sets(p)
	}
	commands, err := pod.PlannedRouting(ctx, c.namespace, policies().Ownership(), p)
	a.Routing = append(a.Routing, commands...)
	return a, err
}

// listed returns the answer with its list of rules, for JSON.
func (a plannedRules) listed() plannedRules {
	for _, t := range a.planned.Tables {
		for _, c := range t.Chains {
			for i, r := range c.Rules {
				a.Rules = append(a.Rules, plannedRule{
					Family: t.Family.String(), Table: t.Name, Chain: c.Name, Position: i + 1, Rule: r.String(), Origin: r.Origin.String(),
				})
			}
		}
	}
	return a
}

// text prints the rules of each family as iptables-save does, and the rest as comments.
func (a plannedRules) text(w io.Writer) {
	for _, f := range iptables.Families() {
		if text := a.planned.Save(f); text != "" {
			fmt.Fprintf(w, "# %s-save (%s)\n%s", f.Command(), f, text)
		}
	}
	for _, command := range slices.Concat(a.Routing, a.Sysctls) {
		fmt.Fprintf(w, "# %s\n", command)
	}
}
