package show

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

// Text draws the rules of backends as trees, with counters before each rule and its
// option after it. Families whose rules differ only in addresses share a tree, and
// counters too if one rule is for both. In separate trees, "+" marks counters of both
// families. Foreign rules are marked as foreign. A chain is marked as shared if several
// rules lead to it: its counters are the sum. Colour is for terminals (ECMA-48).
func Text(w io.Writer, backends []Backend, colour bool) {
	p := painter{colour: colour}
	for i := range backends {
		b := &backends[i]
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s: %s, %s\n", p.bold(b.Name), b.count(), b.Form)
		for _, fault := range installed.Texts(b.Faults) {
			fmt.Fprintln(w, p.bold(fault))
		}
		for _, f := range flows(b) {
			fmt.Fprintln(w)
			f.write(w, p)
		}
	}
}

// count returns how many rules are ours, in words.
func (b *Backend) count() string {
	own := b.Ownership.Of(b.Rules)
	if own.Len() == 0 {
		return "no rules"
	}
	return fmt.Sprintf("%d rules for %s", own.Len(), familyNames(own.Families()))
}

// painter colours text, or not.
type painter struct{ colour bool }

func (p painter) paint(code, text string) string {
	if !p.colour || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p painter) bold(text string) string  { return p.paint("1", text) }
func (p painter) faint(text string) string { return p.paint("2", text) }
func (p painter) green(text string) string { return p.paint("32", text) }

// about says which packets enter a built-in chain.
var about = sync.OnceValue(func() map[string]string {
	return map[string]string{
		iptables.Prerouting: "incoming packets",
		"INPUT":             "incoming packets for this machine",
		"FORWARD":           "forwarded packets",
		iptables.Output:     "packets sent from here",
		"POSTROUTING":       "outgoing packets",
	}
})

// title returns the line over a flow.
func (f *flow) title() string {
	what := about()[f.start.name]
	switch {
	case f.disabled:
		what = "no packet, because the rules are disabled"
	case !f.reached:
		what = "no packet, because no rule leads here"
	}
	return fmt.Sprintf("%s, table %s, %s: %s", f.start.name, f.table, familyNames(f.families), what)
}

// maxWidth is the rightmost column where origins are aligned, so that a few long rules do
// not push all origins out of sight.
const maxWidth = 64

func (f *flow) write(w io.Writer, p painter) {
	lines := f.start.lines("")
	fmt.Fprintln(w, p.bold(f.title())+f.legend(lines))
	columns := f.columns(lines)
	width := 0
	for _, l := range lines {
		width = max(width, l.width())
	}
	width = min(width, maxWidth)
	// The tree's first line has the headings of the columns.
	var head strings.Builder
	for _, column := range columns {
		fmt.Fprintf(&head, "%12s %6s  ", column, "bytes")
	}
	fmt.Fprintln(w, p.faint(head.String())+p.bold(f.start.name))
	for _, l := range lines {
		l.write(w, p, len(columns), width)
	}
}

// line is a rule in a tree, or the policy at the end of a chain.
type line struct {
	counters []counters // nil if nothing is counted
	branch   string     // joins it to its chain
	what     string
	verdict  string
	note     string
	origin   string

	foreign, captures, leads bool
}

// lines returns the tree below a chain.
func (c *chain) lines(indent string) []line {
	var all []line
	for i, s := range c.steps {
		branch, inner := "├─ ", "│  "
		if i == len(c.steps)-1 && c.policy == "" {
			branch, inner = "└─ ", "   "
		}
		l := s.line()
		l.branch = indent + branch
		all = append(all, l)
		if s.to != nil {
			all = append(all, s.to.lines(indent+inner)...)
		}
	}
	if c.policy != "" {
		all = append(all, line{
			counters: c.policyCounters(), branch: indent + "└─ ",
			what: "the rest", verdict: strings.ToLower(string(c.policy)),
		})
	}
	return all
}

// policyCounters returns nil if everything is 0: nf_tables counts for a policy only if
// the chain was created with counters.
func (c *chain) policyCounters() []counters {
	for _, n := range c.counters {
		if n.Counters != (iptables.Counters{}) {
			return c.counters
		}
	}
	return nil
}

func (s *step) line() line {
	l := line{
		what: conditions(s.rules...), verdict: verdict(s.rules[0]),
		foreign: s.foreign, captures: captures(s.rules[0]), leads: s.to != nil,
		origin: s.origin(),
	}
	for _, r := range s.rules {
		l.counters = append(l.counters, counters{r.Counters, r.Shared})
	}
	switch {
	case s.to != nil && s.to.again:
		l.note = " (as above)"
	case s.to != nil && s.to.shared:
		l.note = " (shared)"
	}
	return l
}

// origin returns the options that make the rules of a step. Their addresses differ
// between families.
func (s *step) origin() string {
	if s.foreign {
		return "foreign"
	}
	first, last := s.rules[0].Origin, s.rules[len(s.rules)-1].Origin
	switch {
	case first == last:
		return first.String()
	case first.Option == last.Option:
		return first.String() + " or " + last.Value
	}
	return first.String() + ", " + last.String()
}

func (l *line) width() int {
	return utf8.RuneCountInString(l.branch + l.what + arrow + l.verdict + l.note)
}

func (l *line) write(w io.Writer, p painter, columns, width int) {
	var b strings.Builder
	for i := range columns {
		b.WriteString(l.column(p, i))
	}
	b.WriteString(p.faint(l.branch))
	what, verdict := l.what+arrow, l.verdict
	switch {
	case l.foreign:
		what, verdict = p.faint(what), p.faint(verdict)
	case l.captures:
		verdict = p.green(verdict)
	case l.leads:
		verdict = p.bold(verdict)
	}
	b.WriteString(what + verdict + l.note)
	if l.origin != "" {
		b.WriteString(strings.Repeat(" ", max(0, width-l.width())))
		b.WriteString(p.faint("  # " + l.origin))
	}
	fmt.Fprintln(w, b.String())
}
