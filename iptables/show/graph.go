package show

import (
	"fmt"
	"io"
	"strings"
	"sync"
)

// graph is one flow as a picture: its chains and verdicts. Two nodes are joined once,
// however many rules lead from one to the other.
type graph struct {
	title string
	nodes []node
	edges []edge
}

type node struct {
	id, label string
	kind      kind
}

type kind uint8

const (
	chainNode kind = iota
	verdictNode
	captureNode
	foreignNode
)

type edge struct {
	from, to string
	labels   []string
	foreign  bool
}

// graphs returns the pictures of a backend's rules. The prefix makes node names unique
// across all of them.
func (b *Backend) graphs(prefix string) []graph {
	var all []graph
	for i, f := range flows(b) {
		g := graph{title: b.Name + ": " + f.title()}
		d := drawing{graph: &g, prefix: fmt.Sprintf("%s%d_", prefix, i)}
		d.chain(f.start)
		all = append(all, g)
	}
	return all
}

// drawing is a graph in the making.
type drawing struct {
	*graph
	prefix string
}

func (d drawing) chain(c *chain) {
	from := d.node(c.name, chainNode)
	if c.again {
		return
	}
	for i, s := range c.steps {
		to := d.node(s.end(c))
		d.edge(from, to, fmt.Sprintf("%d. %s", i+1, conditions(s.rules...)), s.foreign)
		if s.to != nil {
			d.chain(s.to)
		}
	}
	if c.policy != "" {
		d.edge(from, d.node(strings.ToLower(string(c.policy)), verdictNode), "the rest", false)
	}
}

// end returns where a step of a chain leads.
func (s *step) end(in *chain) (label string, k kind) {
	r := s.rules[0]
	to, jumps := r.JumpsTo()
	switch {
	case s.to != nil:
		return to, chainNode
	case jumps:
		return to, foreignNode
	case captures(r) && !s.foreign:
		return verdict(r), captureNode
	case verdict(r) == "return" && in.policy == "":
		// The callers differ, so each chain has an end of its own.
		return "return from " + in.name, verdictNode
	}
	return verdict(r), verdictNode
}

// node returns the id of the node with that label. It makes the node if needed.
func (d drawing) node(label string, k kind) string {
	for _, n := range d.nodes {
		if n.label == label {
			return n.id
		}
	}
	id := fmt.Sprintf("%s%d", d.prefix, len(d.nodes))
	d.nodes = append(d.nodes, node{id, label, k})
	return id
}

func (d drawing) edge(from, to, label string, foreign bool) {
	for i := range d.edges {
		if e := &d.edges[i]; e.from == from && e.to == to && e.foreign == foreign {
			e.labels = append(e.labels, label)
			return
		}
	}
	d.edges = append(d.edges, edge{from, to, []string{label}, foreign})
}

// Dot draws the chains for the programs of Graphviz
// (https://graphviz.org/doc/info/lang.html).
func Dot(w io.Writer, backends []Backend) {
	fmt.Fprint(w, "digraph meshtables {\n  rankdir=LR\n  node [shape=box]\n")
	for i := range backends {
		for j, g := range backends[i].graphs(fmt.Sprintf("b%d_", i)) {
			fmt.Fprintf(w, "  subgraph cluster_%d_%d {\n    label=%s\n", i, j, dotText(g.title))
			for _, n := range g.nodes {
				fmt.Fprintf(w, "    %s [label=%s%s]\n", n.id, dotText(n.label), dotStyle()[n.kind])
			}
			for _, e := range g.edges {
				fmt.Fprintf(w, "    %s -> %s [label=%s%s]\n", e.from, e.to,
					dotText(strings.Join(e.labels, "\n")+"\n"), dotDashed(e.foreign))
			}
			fmt.Fprintln(w, "  }")
		}
	}
	fmt.Fprintln(w, "}")
}

var dotStyle = sync.OnceValue(func() map[kind]string {
	return map[kind]string{
		verdictNode: ", shape=plaintext",
		captureNode: ", style=filled, fillcolor=palegreen",
		foreignNode: ", style=dashed",
	}
})

func dotDashed(dashed bool) string {
	if dashed {
		return ", style=dashed, fontcolor=gray"
	}
	return ""
}

// dotText returns a quoted string, its lines to the left.
func dotText(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\l`).Replace(text) + `"`
}

// Mermaid draws the chains for Mermaid, which is built into Markdown viewers
// (https://mermaid.js.org/syntax/flowchart.html).
func Mermaid(w io.Writer, backends []Backend) {
	fmt.Fprintln(w, "flowchart LR")
	for i := range backends {
		for j, g := range backends[i].graphs(fmt.Sprintf("b%d_", i)) {
			fmt.Fprintf(w, "  subgraph g%d_%d[%s]\n", i, j, mermaidText(g.title))
			for _, n := range g.nodes {
				fmt.Fprintf(w, "    %s\n", n.mermaid())
			}
			for _, e := range g.edges {
				fmt.Fprintf(w, "    %s %s|%s| %s\n", e.from, mermaidArrow(e.foreign),
					mermaidText(strings.Join(e.labels, "\n")), e.to)
			}
			fmt.Fprintln(w, "  end")
		}
	}
	fmt.Fprintln(w, "  classDef captures fill:#9f9")
	fmt.Fprintln(w, "  classDef foreign stroke-dasharray:4")
}

func (n node) mermaid() string {
	text := mermaidText(n.label)
	switch n.kind {
	case verdictNode:
		return n.id + "([" + text + "])"
	case captureNode:
		return n.id + "([" + text + "]):::captures"
	case foreignNode:
		return n.id + "[" + text + "]:::foreign"
	}
	return n.id + "[" + text + "]"
}

func mermaidArrow(foreign bool) string {
	if foreign {
		return "-.->"
	}
	return "-->"
}

// mermaidText returns a quoted string. Lines are separated as in HTML, and other
// characters written as Mermaid's entity codes, which begin with "#".
func mermaidText(text string) string {
	return `"` + strings.NewReplacer("#", "#35;", `"`, "#quot;", "<", "#lt;", ">", "#gt;", "\n", "<br>").Replace(text) + `"`
}
