package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/foreign"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/interceptor"
	"github.com/meshtables/meshtables/iptables/pod"
)

// explainAll prints what is captured and what is not.
func (c *command) explainAll(ctx context.Context) int {
	a, status := c.overview(ctx)
	if status != exitDone {
		return status
	}
	return c.print(a)
}

// overview returns what is captured and what is not. If it fails, the exit status is not
// exitDone.
func (c *command) overview(ctx context.Context) (a overview, status int) {
	s, status := c.subject(ctx)
	if status != exitDone {
		return a, status
	}
	if c.live || c.trace {
		if s.intended == nil {
			return overview{Inbound: []overviewLine{}, Outbound: []overviewLine{}}, exitDone
		}
		if s.intended.Guessed {
			c.warnInexact(&s.Recognised)
		}
	}
	full, short := s.Wanted.Summarise(s.Host, 0), s.Wanted.Summarise(s.Host, iptables.MaxListed)
	var breaches []foreign.Breach
	if c.live || c.trace {
		var err error
		if breaches, err = c.breaches(ctx, &s); err != nil {
			return a, c.failed(err)
		}
	}
	a = overview{
		Broken:       brokenLines(breaches),
		Interceptors: s.interceptors,
		Mode:         full.Mode,
		Inbound:      overviewLines(full.Inbound, short.Inbound),
		Outbound:     overviewLines(full.Outbound, short.Outbound),
	}
	for _, f := range full.Families {
		a.Families = append(a.Families, f.String())
	}
	return a, exitDone
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
	// Broken is ordinary traffic that these options capture and that goes elsewhere.
	Broken []brokenLine `json:"broken,omitempty"`
	// Interceptors are BPF programs of others that may do something else with traffic.
	Interceptors *interceptor.Found `json:"interceptors,omitempty"`
}

// brokenLine is a kind of traffic of a direction, and why it goes elsewhere.
type brokenLine struct {
	Family string `json:"family"`
	// Direction is "in" or "out".
	Direction string `json:"direction"`
	Traffic   string `json:"traffic"`
	Why       string `json:"why"`
}

func brokenLines(breaches []foreign.Breach) []brokenLine {
	var all []brokenLine
	for _, b := range breaches {
		all = append(all, brokenLine{b.Family.String(), b.Direction, b.Traffic, b.Why})
	}
	return all
}

// breaches compares what happens to ordinary traffic with what the table says, and warns of
// what foreign rules do to other traffic.
func (c *command) breaches(ctx context.Context, s *subject) ([]foreign.Breach, error) {
	situation, err := pod.SituationOf(ctx, c.namespace, c.line.policy, &s.path, host.Host{Addresses: s.addresses, NameServers: s.Host.NameServers})
	if err != nil {
		return nil, err
	}
	breaches := foreign.Breaches(situation, s.intended, c.line.policy)
	var others []foreign.Finding
	for _, f := range foreign.Judge(situation) {
		if !slices.ContainsFunc(breaches, func(b foreign.Breach) bool {
			return b.Family == f.Family && b.Direction == f.Direction && strings.HasSuffix(b.Why, f.Interference.String())
		}) {
			others = append(others, f)
		}
	}
	c.warn(pod.WarningsOf(others))
	return breaches, nil
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

// mark marks a direction in which ordinary traffic goes elsewhere.
func (o overview) mark(direction string) string {
	if slices.ContainsFunc(o.Broken, func(b brokenLine) bool { return b.Direction == direction }) {
		return " (broken)"
	}
	return ""
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
		short interceptor.Direction
		lines []overviewLine
	}{{"inbound", interceptor.In, o.Inbound}, {"outbound", interceptor.Out, o.Outbound}} {
		fmt.Fprintf(w, "\n%s%s\n", d.name, o.mark(string(d.short)))
		for _, b := range o.Broken {
			if b.Direction == string(d.short) {
				fmt.Fprintf(w, "  ! %s %s: %s\n", b.Family, b.Traffic, b.Why)
			}
		}
		writeInterceptors(w, "  ", stage(o.Interceptors, d.short, true))
		what, fate := make([]string, len(d.lines)), make([]string, len(d.lines))
		for i, l := range d.lines {
			what[i], fate[i] = l.shortWhat, l.fate
		}
		whatWidth, fateWidth := longestOf(what), longestOf(fate)
		for _, l := range d.lines {
			fmt.Fprintf(w, "  %-*s  %-*s  %s\n", whatWidth, l.shortWhat, fateWidth, l.fate, l.shortWhy)
		}
		writeInterceptors(w, "  ", stage(o.Interceptors, d.short, false))
	}
	if o.Interceptors != nil && o.Interceptors.Unread != nil {
		fmt.Fprintln(w)
		writeUnread(w, "", o.Interceptors)
	}
}
