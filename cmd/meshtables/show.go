package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/interceptor"
	"github.com/meshtables/meshtables/iptables/kernel"
	"github.com/meshtables/meshtables/iptables/pod"
	"github.com/meshtables/meshtables/iptables/show"
)

// The output formats that are pictures.
const (
	outputDot     outputFormat = "dot"
	outputMermaid outputFormat = "mermaid"
)

// showRows returns the options of show.
func (o *options) showRows() []config.Row {
	return []config.Row{{Option: config.Option{
		Name: "output", Letter: "O",
		Usage: "format of the answer: text, json, or a picture: dot (Graphviz) or mermaid",
	}, Value: config.Choice("format", &o.output, outputText, outputJSON, outputDot, outputMermaid)}}
}

// show prints what is installed.
func (c *command) show(ctx context.Context) int {
	found, err := c.find(ctx)
	if err != nil {
		return c.failed(err)
	}
	routing, err := found.Routing()
	if err != nil {
		return c.failed(err)
	}
	c.line.policy = c.policyOr(found.InstalledPolicy(policies()))
	findings, err := pod.JudgeFound(ctx, c.namespace, c.line.policy, &found)
	if err != nil {
		return c.failed(err)
	}
	c.warn(pod.WarningsOf(findings))
	a := shown{Result: "installed", Backends: []shownBackend{}, Routing: []shownRouting{}, colour: c.colour()}
	for _, have := range found.Ours {
		b := show.Backend{Name: have.Name, Form: formOf(have.Name), Rules: pod.Recognise(c.installedPolicy(&have.Rules), &have).Rules, Ownership: have.Ownership, Faults: have.Faults}
		a.backends = append(a.backends, b)
		a.Backends = append(a.Backends, shownBackend{b.Name, b.Form, installed.Texts(b.Faults), show.Tables(&b)})
	}
	for _, o := range routing.Own() {
		a.Routing = append(a.Routing, shownRouting{o.Family.String(), o.String()})
	}
	if len(a.backends) == 0 && len(a.Routing) == 0 {
		a.Result = "nothing is installed"
	}
	if len(a.backends) > 0 {
		a.Interceptors = c.readInterceptors(ctx)
	}
	switch c.output {
	case outputDot:
		return c.write(func(w io.Writer) { show.Dot(w, a.backends) })
	case outputMermaid:
		return c.write(func(w io.Writer) { show.Mermaid(w, a.backends) })
	}
	return c.print(a)
}

// find reads what is installed, and warns of what an answer about it leaves out.
func (c *command) find(ctx context.Context) (pod.Found, error) {
	found, err := pod.Find(ctx, c.namespace, policies().Ownership(), c.backend)
	c.debug(found.Candidates)
	if err == nil {
		c.warn(found.Warnings())
	}
	return found, err
}

// formOf says which program lists the rules of a backend.
func formOf(backend string) string {
	switch backend {
	case kernel.Native:
		return "in nf_tables' own form, listed by nft"
	case kernel.Legacy:
		return "listed by iptables-legacy"
	}
	return "listed by iptables"
}

// colour reports whether to colour the answer: on a terminal that can show it, unless
// the user does not want that (https://no-color.org).
func (c *command) colour() bool {
	return c.variable("NO_COLOR") == "" && c.variable("TERM") != "dumb" && isTerminal(c.stdout)
}

// variable returns a variable of the environment, or "".
func (c *command) variable(name string) string {
	for _, entry := range slices.Backward(c.env) {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

// shown is the answer of show.
type shown struct {
	// Result is "installed" or "nothing is installed".
	Result   string         `json:"result"`
	Backends []shownBackend `json:"backends"`
	Routing  []shownRouting `json:"routing"`
	// Interceptors are BPF programs of others beside the rules.
	Interceptors *interceptor.Found `json:"interceptors,omitempty"`

	backends []show.Backend
	colour   bool
}

type shownBackend struct {
	Backend string `json:"backend"`
	// Form says which program lists the rules; see formOf.
	Form string `json:"form"`
	// Faults say what is wrong with the table itself, a sentence each.
	Faults []string     `json:"faults,omitempty"`
	Tables []show.Table `json:"tables"`
}

// shownRouting is an address, a route or a rule in the words of ip(8).
type shownRouting struct {
	Family string `json:"family"`
	Object string `json:"object"`
}

func (s shown) text(w io.Writer) {
	if len(s.backends) == 0 {
		fmt.Fprintln(w, "nothing is installed")
	}
	show.Text(w, s.backends, s.colour)
	if len(s.Routing) > 0 {
		fmt.Fprintln(w, "\nrouting")
		for _, r := range s.Routing {
			fmt.Fprintf(w, "  %s  %s\n", r.Family, r.Object)
		}
	}
	writeBeside(w, s.Interceptors)
}
