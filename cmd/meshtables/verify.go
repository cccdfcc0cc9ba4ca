package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel"
	"github.com/meshtables/meshtables/iptables/routes"
	"github.com/meshtables/meshtables/iptables/verify"
)

// verify compares what is installed with what the options ask for.
func (c *command) verify(ctx context.Context) int {
	p, status := c.plan()
	if status != exitDone {
		return status
	}
	choice, err := c.choose(ctx, p.Rules)
	if err != nil {
		return c.failed(err)
	}
	have, err := choice.Backend.Load(ctx)
	if err != nil {
		return c.failed(err)
	}
	others, unseen, err := choice.Others(ctx)
	if err := errors.Join(unseen, err); err != nil {
		return c.failed(err)
	}
	around, err := kernel.Around(ctx, choice.Backend, have.Rules)
	if err != nil {
		return c.failed(err)
	}
	c.warnFirst(around)
	path := installed.Path{Rules: have.Rules, Before: around.Before, Faults: have.Faults}
	changes, err := routes.Diff(ctx, p.Routing)
	if err != nil {
		return c.failed(err)
	}

	answer := verification{
		Result: "as wanted", Backend: choice.Backend.Name(),
		Faults: installed.Texts(have.Faults), Rules: verify.Rules(&choice.Rules, &path),
	}
	for _, other := range others {
		answer.Elsewhere = append(answer.Elsewhere, misplaced{
			Backend: other.Backend.Name(),
			Faults:  installed.Texts(other.Have.Faults),
			Rules:   append([]verify.Difference{}, verify.Rules(&iptables.Ruleset{}, installed.Alone(&other.Have.Rules))...),
		})
	}
	for _, change := range changes {
		answer.Routing = append(answer.Routing, change.String())
	}
	if len(answer.Faults) > 0 || len(answer.Rules) > 0 || len(answer.Elsewhere) > 0 || len(answer.Routing) > 0 {
		answer.Result = "different"
		status = exitDifferent
	}
	if len(changes) == 0 {
		answer.Only = onlyDifference(p.Rules, choice, &path, others)
	}
	if failed := c.print(answer); failed != exitDone {
		return failed
	}
	return status
}

// The values of verification.Only.
const (
	onlyBackend  = "backend"
	onlyComments = "comments"
)

// onlyDifference returns the one thing in which the rules of the chosen backend and
// of others are not the plan, or "" where it is more than one or another.
func onlyDifference(plan iptables.Plan, choice kernel.Choice, have *installed.Path, others []kernel.Installed) string {
	switch {
	case len(have.Faults) > 0:
		return ""
	case len(others) == 0 && verify.CommentsOnly(&choice.Rules, have):
		return onlyComments
	case len(others) == 1 && len(have.Rules.Own().Tables) == 0 && len(others[0].Have.Faults) == 0:
		want := others[0].Backend.Form(plan)
		if len(verify.Rules(&want, installed.Alone(&others[0].Have.Rules))) == 0 {
			return onlyBackend
		}
	}
	return ""
}

// verification is the answer of verify.
type verification struct {
	// Result is "as wanted" or "different".
	Result  string `json:"result"`
	Backend string `json:"backend"`
	// Only is the one thing that differs: "backend" where the wanted rules are
	// complete in another one, "comments" where packets notice nothing. It is
	// empty where more or something else does.
	Only string `json:"only,omitempty"`
	// Faults are what is wrong with what holds the rules, a sentence each.
	Faults []string            `json:"faults,omitempty"`
	Rules  []verify.Difference `json:"rules,omitempty"`
	// Elsewhere are rules of ours in other backends, where none should be.
	Elsewhere []misplaced `json:"elsewhere,omitempty"`
	// Routing are the commands of ip(8) that would make it as wanted.
	Routing []string `json:"routing,omitempty"`
}

type misplaced struct {
	Backend string              `json:"backend"`
	Faults  []string            `json:"faults,omitempty"`
	Rules   []verify.Difference `json:"rules"`
}

func (v verification) text(w io.Writer) {
	switch v.Only {
	case onlyBackend:
		// Every rule would be listed twice, to say no more than this.
		there := v.Elsewhere[0].Backend
		fmt.Fprintf(w, "%s: the rules are in %s, not in %s\n", v.Result, there, v.Backend)
		fmt.Fprintf(w, "%sverify with --backend=%s, or apply again to move them\n", hintPrefix, there)
		return
	case onlyComments:
		fmt.Fprintf(w, "%s in comments only (%s)\n", v.Result, v.Backend)
	default:
		fmt.Fprintf(w, "%s (%s)\n", v.Result, v.Backend)
	}
	v.writeFaults(w)
	v.writeRules(w)
	if len(v.Routing) > 0 {
		fmt.Fprintln(w, "routing needs")
		for _, command := range v.Routing {
			fmt.Fprintf(w, "  %s\n", command)
		}
	}
}

func (v verification) writeFaults(w io.Writer) {
	for _, fault := range v.Faults {
		fmt.Fprintln(w, fault)
	}
	for _, m := range v.Elsewhere {
		for _, fault := range m.Faults {
			fmt.Fprintf(w, "%s: %s\n", m.Backend, fault)
		}
	}
}

// writeRules prints the differences of rules, and before them what their marks
// mean.
func (v verification) writeRules(w io.Writer) {
	all := v.Rules
	for _, m := range v.Elsewhere {
		all = slices.Concat(all, m.Rules)
	}
	if len(all) > 0 {
		fmt.Fprintln(w, verify.Legend(all))
	}
	writeDifferences(w, "", v.Rules)
	for _, m := range v.Elsewhere {
		writeDifferences(w, m.Backend+" ", m.Rules)
	}
}

// writeDifferences prints them under a line for each chain.
func writeDifferences(w io.Writer, prefix string, all []verify.Difference) {
	for _, c := range byChain(all) {
		fmt.Fprintf(w, "%s%s %s\n%s", prefix, strings.Join(c.families, " and "), c.chain, c.lines)
	}
}

// chainDifferences are the lines about a chain, and the families that they are about.
type chainDifferences struct {
	families     []string
	chain, lines string
}

// byChain groups differences by the chain, and makes one of what is alike for both
// families.
func byChain(all []verify.Difference) []chainDifferences {
	var groups []chainDifferences
	for _, d := range all {
		chain, n := d.Table+" "+d.Chain, len(groups)
		if n == 0 || groups[n-1].chain != chain || groups[n-1].families[0] != d.Family {
			groups = append(groups, chainDifferences{families: []string{d.Family}, chain: chain})
			n++
		}
		groups[n-1].lines += fmt.Sprintf("  %s\n", d)
	}
	var merged []chainDifferences
	for _, g := range groups {
		i := slices.IndexFunc(merged, func(m chainDifferences) bool { return m.chain == g.chain && m.lines == g.lines })
		if i >= 0 {
			merged[i].families = append(merged[i].families, g.families...)
			continue
		}
		merged = append(merged, g)
	}
	return merged
}
