package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel"
	"github.com/meshtables/meshtables/iptables/verify"
)

// verify compares what is installed with what the options ask for.
func (c *command) verify(ctx context.Context) int {
	p, status := c.plan(ctx)
	if status != exitDone {
		return status
	}
	f, err := c.find(ctx)
	if err == nil {
		err = f.Unread
	}
	if err != nil {
		return c.failed(err)
	}
	there, err := f.Routing()
	if err != nil {
		return c.failed(err)
	}
	changes, err := there.Diff(p.Routing)
	if err != nil {
		return c.failed(err)
	}
	at := f.compared()
	want, path := kernel.InForm(at.Form, p.Rules), f.Path(at.Form)
	c.warnFirst(&f.Installed, at.Form, &path.Rules)

	answer := verification{
		Result: "as wanted", Backend: at.Name,
		Faults: installed.Texts(path.Faults), Rules: verify.Rules(&want, &path),
	}
	var others []installed.Backend
	for _, other := range f.own {
		if other.Form == at.Form {
			continue
		}
		others = append(others, other)
		answer.Elsewhere = append(answer.Elsewhere, misplaced{
			Backend: other.Name,
			Faults:  installed.Texts(other.Faults),
			Rules:   verify.Rules(&iptables.Ruleset{}, installed.Alone(&other.Rules)),
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
		answer.Only = onlyDifference(p.Rules, &want, &path, others)
	}
	if failed := c.print(answer); failed != exitDone {
		return failed
	}
	return status
}

// compared returns the backend that is compared with what is wanted: the one that was
// asked for, or a form of nf_tables in which rules of ours are, or the one that would be
// chosen.
func (f *found) compared() installed.Backend {
	if f.asked != nil {
		b := f.Backend(kernel.FormOf(f.asked))
		b.Name = f.asked.Name()
		return b
	}
	for _, b := range f.own {
		if b.Form != installed.Legacy {
			return b
		}
	}
	return f.Backend(f.Default())
}

// The values of verification.Only.
const (
	onlyBackend  = "backend"
	onlyComments = "comments"
)

// onlyDifference returns the one thing in which the rules of the backend that is compared
// and of others are not the plan, or "" where it is more than one or another.
func onlyDifference(plan iptables.Ruleset, want *iptables.Ruleset, have *installed.Path, others []installed.Backend) string {
	switch {
	case len(have.Faults) > 0:
		return ""
	case len(others) == 0 && verify.CommentsOnly(want, have):
		return onlyComments
	case len(others) == 1 && len(have.Rules.Own().Tables) == 0 && len(others[0].Faults) == 0:
		there := kernel.InForm(others[0].Form, plan)
		if len(verify.Rules(&there, installed.Alone(&others[0].Rules))) == 0 {
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
