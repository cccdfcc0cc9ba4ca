package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables/pod"
	"github.com/meshtables/meshtables/iptables/verify"
)

// verify compares what is installed with what the options ask for.
func (c *command) verify(ctx context.Context) int {
	p, status := c.plan(ctx)
	if status != exitDone {
		return status
	}
	v, err := pod.Verify(ctx, c.namespace, &p, c.backend)
	c.debug(v.Candidates)
	if err != nil {
		return c.failed(err)
	}
	c.warn(v.Warnings)
	if failed := c.print(verification{v}); failed != exitDone {
		return failed
	}
	if !v.IsAsWanted() {
		return exitDifferent
	}
	return exitDone
}

// verification is the answer of verify.
type verification struct{ pod.Verification }

func (v verification) text(w io.Writer) {
	switch v.Only {
	case pod.OnlyBackend:
		// The list would have every rule twice and say no more than this.
		there := v.Elsewhere[0].Backend
		fmt.Fprintf(w, "%s: the rules are in %s, not in %s\n", v.Result, there, v.Backend)
		fmt.Fprintf(w, "%sverify with --backend=%s, or apply again to move them\n", hintPrefix, there)
		return
	case pod.OnlyComments:
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

// writeRules prints the differences of rules, after a line that explains their marks.
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

// writeDifferences prints the differences, under a line for each chain.
func writeDifferences(w io.Writer, prefix string, all []verify.Difference) {
	for _, c := range byChain(all) {
		fmt.Fprintf(w, "%s%s %s\n%s", prefix, strings.Join(c.families, " and "), c.chain, c.lines)
	}
}

// chainDifferences are the lines about a chain, and the families that have them.
type chainDifferences struct {
	families     []string
	chain, lines string
}

// byChain groups differences by chain, and merges those that are alike in both families.
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
