package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/explain"
)

// explainAll prints what is captured and what is not.
func (c *command) explainAll(ctx context.Context) int {
	s, status := c.subject(ctx)
	if status != exitDone {
		return status
	}
	if c.live || c.trace {
		if len(s.path.Own().Tables) == 0 || s.path.Disabled() {
			return c.print(overview{Inbound: []overviewLine{}, Outbound: []overviewLine{}})
		}
		c.warnForeign(&s.path)
		c.warnInexact(&s.Recognised)
	}
	full, short := s.Wanted.Summarise(s.Host, 0), s.Wanted.Summarise(s.Host, iptables.MaxListed)
	a := overview{
		Mode:     full.Mode,
		Inbound:  overviewLines(full.Inbound, short.Inbound),
		Outbound: overviewLines(full.Outbound, short.Outbound),
	}
	for _, f := range full.Families {
		a.Families = append(a.Families, f.String())
	}
	return c.print(a)
}

// warnInexact warns if the options that were found would make other rules than the
// installed ones: the table is about the options.
func (c *command) warnInexact(found *capture.Recognised) {
	if found.Complete {
		return
	}
	for _, option := range found.Refused {
		c.log.Warn("the value of " + option + " in the rules is not valid, so this table leaves it out")
	}
	c.log.Warn("this table shows what the options found in the rules would do; the rules may do something else\n" +
		hintPrefix + "ask about one connection, such as explain out 203.0.113.10:443 --live, or apply again")
}

// overview is the answer of explain without an address. In each direction the first
// line that matches a connection decides.
type overview struct {
	Families []string       `json:"families,omitempty"`
	Mode     string         `json:"mode,omitempty"`
	Inbound  []overviewLine `json:"inbound"`
	Outbound []overviewLine `json:"outbound"`
}

type overviewLine struct {
	What    string          `json:"what"`
	Verdict explain.Verdict `json:"verdict"`
	// Port is where the proxy gets it; 0 if it does not.
	Port uint16 `json:"port"`
	// Why is the option behind it, or the reason.
	Why string `json:"why"`

	// For people: fate is the verdict, and long lists are cut.
	fate, shortWhat, shortWhy string
}

// overviewLines returns lines; people read the short ones.
func overviewLines(lines, short []capture.Line) []overviewLine {
	all := make([]overviewLine, len(lines))
	for i, l := range lines {
		all[i] = overviewLine{
			What: l.What, Verdict: explain.Redirected, Port: l.Port, Why: l.Why,
			fate: fmt.Sprintf("to port %d", l.Port), shortWhat: short[i].What, shortWhy: short[i].Why,
		}
		switch {
		case l.Dropped:
			all[i].Verdict, all[i].fate = explain.Dropped, "dropped"
		case l.TProxy:
			all[i].Verdict = explain.TProxied
			all[i].fate += " by TPROXY"
		case l.Port == 0:
			all[i].Verdict, all[i].fate = explain.Bypassed, "not captured"
		}
	}
	return all
}

func (o overview) text(w io.Writer) {
	if len(o.Families) == 0 {
		fmt.Fprintln(w, "nothing is captured")
		return
	}
	note := ""
	if len(o.Families) < len(iptables.Families()) {
		note = "; IPv6 is not captured"
	}
	fmt.Fprintf(w, "%s, %s%s; in each direction the first matching line decides\n", o.Mode, strings.Join(o.Families, " and "), note)
	for _, d := range []struct {
		name  string
		lines []overviewLine
	}{{"inbound", o.Inbound}, {"outbound", o.Outbound}} {
		fmt.Fprintf(w, "\n%s\n", d.name)
		what, fate := make([]string, len(d.lines)), make([]string, len(d.lines))
		for i, l := range d.lines {
			what[i], fate[i] = l.shortWhat, l.fate
		}
		whatWidth, fateWidth := longestOf(what), longestOf(fate)
		for _, l := range d.lines {
			fmt.Fprintf(w, "  %-*s  %-*s  %s\n", whatWidth, l.shortWhat, fateWidth, l.fate, l.shortWhy)
		}
	}
}
