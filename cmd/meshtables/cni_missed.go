package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/node"
)

// captureMissed captures the pods that have started without the plugin, now and whenever it was
// away. What it needs and does not have it says; the plugin is kept in place without it.
func (c *command) captureMissed(ctx context.Context, away <-chan struct{}) {
	var told []string
	node.CaptureMissed(ctx, away, func() ([]node.Report, error) { return c.auditMissed(ctx) }, func(reports []node.Report, err error) {
		told = c.tellMissed(reports, err, told)
	})
}

// auditMissed captures what was missed. Without a network nobody asks for anything.
func (c *command) auditMissed(ctx context.Context) ([]node.Report, error) {
	machine := c.node()
	settings, err := machine.Settings(podPolicies())
	if err != nil || settings == nil {
		return nil, err
	}
	// A node on which pods run has the folder. Who sees none looks at another place, or from
	// within a container without it.
	if _, err := os.Stat(machine.Cache); err != nil {
		return nil, fmt.Errorf("failed to read libcni's cache: %w\n"+hintPrefix+"mount it, as deploy/cni does, or name the folder with --cni-cache", err)
	}
	a := node.Auditor{Node: machine, Policies: podPolicies(), Settings: settings, Repair: node.OnlyMissed}
	run, err := a.Audit(ctx)
	return run.Reports, err
}

// tellMissed logs what was captured, and what could not be, which it returns. What was told the
// last time is not told again.
func (c *command) tellMissed(reports []node.Report, err error, last []string) (told []string) {
	warn := func(text string) {
		if !slices.Contains(last, text) {
			c.log.Warn(text)
		}
		told = append(told, text)
	}
	if err != nil {
		warn("nobody can tell which pods have started without the plugin: " + err.Error())
	}
	unreadable := make(map[string][]string)
	for i := range reports {
		r := &reports[i]
		switch {
		case r.State == node.Unreadable:
			why := r.Problems[0].Text
			if hint := r.Problems[0].Hint; hint != "" {
				why += "\n" + hintPrefix + hint
			}
			unreadable[why] = append(unreadable[why], r.String())
		case r.Repair == nil:
		case r.Repair.Result == node.Repaired:
			c.log.Info(fmt.Sprintf("captured %s, which had started without the plugin: %s", r, r.Repair.Text))
		default:
			warn(fmt.Sprintf("%s has started without the plugin, and is not captured: %s", r, r.Repair.Text))
		}
	}
	for _, why := range slices.Sorted(maps.Keys(unreadable)) {
		warn(fmt.Sprintf("nobody can tell whether %s captured: %s", namesOf(unreadable[why]), why))
	}
	return told
}

// namesOf returns the first of some pods, how many there are besides, and the verb for them.
func namesOf(pods []string) string {
	const most = 3
	slices.Sort(pods)
	if len(pods) == 1 {
		return pods[0] + " is"
	}
	named := pods[:min(len(pods), most)]
	if more := len(pods) - most; more > 0 {
		named = append(slices.Clone(named), fmt.Sprintf("%d more", more))
	}
	return iptables.Enumerate(named) + " are"
}
