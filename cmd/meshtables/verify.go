package main

import (
	"context"
	"fmt"
	"io"

	"github.com/meshtables/meshtables/iptables"
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
	others, err := choice.Others(ctx)
	if err != nil {
		return c.failed(err)
	}
	changes, err := routes.Diff(ctx, p.Routing)
	if err != nil {
		return c.failed(err)
	}

	answer := verification{Result: "as wanted", Backend: choice.Backend.Name(), Rules: verify.Rules(&choice.Rules, &have)}
	for _, other := range others {
		answer.Elsewhere = append(answer.Elsewhere, misplaced{
			Backend: other.Backend.Name(),
			Rules:   verify.Rules(&iptables.Ruleset{}, &other.Rules),
		})
	}
	for _, change := range changes {
		answer.Routing = append(answer.Routing, change.String())
	}
	if len(answer.Rules) > 0 || len(answer.Elsewhere) > 0 || len(answer.Routing) > 0 {
		answer.Result = "different"
		status = exitDifferent
	}
	if failed := c.print(answer); failed != exitDone {
		return failed
	}
	return status
}

// verification is the answer of verify.
type verification struct {
	// Result is "as wanted" or "different".
	Result  string              `json:"result"`
	Backend string              `json:"backend"`
	Rules   []verify.Difference `json:"rules,omitempty"`
	// Elsewhere are rules of ours in other backends, where none should be.
	Elsewhere []misplaced `json:"elsewhere,omitempty"`
	// Routing are the commands of ip(8) that would make it as wanted.
	Routing []string `json:"routing,omitempty"`
}

type misplaced struct {
	Backend string              `json:"backend"`
	Rules   []verify.Difference `json:"rules"`
}

func (v verification) text(w io.Writer) {
	fmt.Fprintf(w, "%s (%s)\n", v.Result, v.Backend)
	writeDifferences(w, "", v.Rules)
	for _, m := range v.Elsewhere {
		writeDifferences(w, m.Backend+" ", m.Rules)
	}
	if len(v.Routing) > 0 {
		fmt.Fprintln(w, "routing needs")
		for _, command := range v.Routing {
			fmt.Fprintf(w, "  %s\n", command)
		}
	}
}

// writeDifferences prints them under a line for each chain.
func writeDifferences(w io.Writer, prefix string, all []verify.Difference) {
	last := ""
	for _, d := range all {
		if chain := fmt.Sprintf("%s%s %s %s", prefix, d.Family, d.Table, d.Chain); chain != last {
			fmt.Fprintln(w, chain)
			last = chain
		}
		fmt.Fprintf(w, "  %s\n", d)
	}
}
