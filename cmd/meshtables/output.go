package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/probe"
	"github.com/meshtables/meshtables/iptables/routes"
)

// schemaVersion is that of docs/json.md, which says when it changes.
const schemaVersion = 1

// answer is what a run prints on stdout. Its exported fields are what -O json
// prints, after the version; docs/json.md describes them.
type answer interface {
	text(w io.Writer)
}

func (c *command) print(a answer) int {
	if c.output == outputText {
		return c.write(a.text)
	}
	return c.write(func(w io.Writer) { writeJSON(w, a) })
}

// writeJSON prints an answer as an object whose first field is the version.
func writeJSON(w io.Writer, a answer) {
	var object bytes.Buffer
	encoder := json.NewEncoder(&object)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	// Answers hold nothing that JSON has no form for.
	_ = encoder.Encode(a)
	// Every answer has a field of its own, so a comma is right.
	fmt.Fprintf(w, "{\n  \"schemaVersion\": %d,%s", schemaVersion, strings.TrimPrefix(object.String(), "{"))
}

// write prints an answer as a whole.
func (c *command) write(answer func(io.Writer)) int {
	var b bytes.Buffer
	answer(&b)
	if _, err := c.stdout.Write(b.Bytes()); err != nil {
		return c.failed(fmt.Errorf("failed to print the answer: %w", err))
	}
	return exitDone
}

// outcome is the answer of applying and of cleaning up.
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

// plannedRules is the answer of --dry-run.
type plannedRules struct {
	Rules   []plannedRule `json:"rules"`
	Routing []string      `json:"routing"`

	planned iptables.Ruleset
}

type plannedRule struct {
	Family   string `json:"family"`
	Table    string `json:"table"`
	Chain    string `json:"chain"`
	Position int    `json:"position"`
	Rule     string `json:"rule"`
	Origin   string `json:"origin"`
}

func newPlannedRules(planned iptables.Ruleset, routing iptables.Routing) (plannedRules, error) {
	a := plannedRules{planned: planned, Rules: []plannedRule{}, Routing: []string{}}
	commands, err := routes.Commands(routing)
	a.Routing = append(a.Routing, commands...)
	return a, err
}

// listed returns the answer with its list of rules, which people get as text.
func (a plannedRules) listed() plannedRules {
	for _, t := range a.planned.Tables {
		for _, c := range t.Chains {
			for i, r := range c.Rules {
				a.Rules = append(a.Rules, plannedRule{
					t.Family.String(), t.Name, c.Name, i + 1, r.String(), r.Origin.String(),
				})
			}
		}
	}
	return a
}

// text prints the rules as iptables-save does, for each family under a comment
// of its own, and what else would be done as comments.
func (a plannedRules) text(w io.Writer) {
	for _, f := range iptables.Families() {
		if text := a.planned.Save(f); text != "" {
			fmt.Fprintf(w, "# %s-save (%s)\n%s", f.Command(), f, text)
		}
	}
	for _, command := range a.Routing {
		fmt.Fprintf(w, "# %s\n", command)
	}
}
