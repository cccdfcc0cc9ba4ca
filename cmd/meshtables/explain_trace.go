package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/foreign"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/trace"
)

// traced is what the kernel did with a packet like the one in question.
type traced struct {
	// Verdict and Port are what the rules of the path came to, see explanation.
	Verdict explain.Verdict `json:"verdict"`
	Port    uint16          `json:"port"`
	// Agrees says that it met the rules that a packet as it was sent should; where
	// these cannot be told, that it began by those that can.
	Agrees bool `json:"agrees"`
	// Dropped says that it ended at the last rule of the path, and Why why.
	Dropped bool   `json:"dropped"`
	Why     string `json:"why,omitempty"`
	// Refused is the kernel's error for a packet that came to no rule.
	Refused string      `json:"refused,omitempty"`
	Packet  askedPacket `json:"packet"`
	Path    []pathStep  `json:"path"`

	// unexplained says that the rules did not tell what to expect.
	unexplained bool
}

// checkTrace refuses what cannot be traced.
func (s *subject) checkTrace() error {
	if s.form == installed.Legacy {
		return fmt.Errorf("--trace: rules of %s cannot be traced\n"+
			hintPrefix+"nf_tables only reports the ways of packets; move the rules there with --backend=iptables-nft, or leave --trace out", s.backend)
	}
	return nil
}

// traceAll sends a packet for each answer and adds what became of it. The exit status
// tells whether the kernel always did what was explained; and it is that of a failure if
// neither the rules nor the kernel told anything.
func (c *command) traceAll(ctx context.Context, q *question, s *subject, answers []explanation) (status int, err error) {
	agree, told := true, true
	for i := range answers {
		p := answers[i].before
		if q.from.Port() == 0 {
			p.SourcePort = 0
		}
		report, err := trace.Run(ctx, c.namespace, s.form, p)
		if err != nil {
			return exitFailed, fmt.Errorf("--trace: %w", err)
		}
		t := s.newTraced(report)
		answers[i].Trace = t
		agree = agree && t.Agrees
		told = told && (answers[i].Verdict != explain.Unknown || len(t.Path) > 0 || t.Refused != "")
	}
	switch {
	case !told:
		c.log.Error("cannot tell what becomes of the connection: the rules do not tell, and the kernel's trace shows nothing")
		return exitFailed, nil
	case !agree:
		return exitDifferent, nil
	}
	return exitDone, nil
}

func (s *subject) newTraced(report trace.Report) *traced {
	// What was sent may have come in by another interface than the one that was
	// asked about. What the walk fails at is in the answer; its beginning is known.
	expected, _ := explain.WalkPath(&s.path, report.Sent)
	want := newExplanation(report.Sent, expected, nil)
	t := &traced{Packet: want.Packet, Path: s.pathOf(report)}
	t.Verdict, t.Port = s.verdictOf(report)
	if n := len(report.Path); n > 0 && report.Path[n-1].Dropped {
		t.Dropped, t.Why = true, s.whyDropped(report, report.Path[n-1])
	}
	if report.Refused != nil && len(report.Path) == 0 {
		t.Refused = report.Refused.Error()
	}
	t.Agrees = t.Refused == "" && samePath(want.Path, t.Path, t.Dropped, expected.Verdict)
	t.unexplained = expected.Verdict == explain.Unknown
	return t
}

// pathOf returns what the kernel reports, with the origins of the rules.
func (s *subject) pathOf(report trace.Report) []pathStep {
	path := make([]pathStep, len(report.Path))
	for i, step := range report.Path {
		path[i] = pathStep{Table: step.Table, Chain: step.Chain, Position: step.Position, Rule: step.Rule}
		if rule := s.ruleOf(report, step); rule != nil {
			path[i].Origin = rule.Origin.String()
		}
		if step.Position == 0 && step.Policy {
			path[i].Rule = "policy DROP"
		}
	}
	return path
}

// samePath compares the rules that are walked with those that a walk of that verdict
// met; the kernel reports others too. What TPROXY has no socket for ends early, and what
// cannot be told may go on.
func samePath(want, got []pathStep, dropped bool, v explain.Verdict) bool {
	walked := walkedPart(got)
	if dropped && (v == explain.TProxied || v == explain.Unknown) {
		want = want[:min(len(want), len(walked))]
	}
	if v == explain.Unknown {
		walked = walked[:min(len(want), len(walked))]
	}
	return slices.EqualFunc(want, walked, func(a, b pathStep) bool {
		return a.Table == b.Table && a.Chain == b.Chain && a.Position == b.Position
	})
}

// walkedPart returns the steps that explain would walk too, which depends on the
// built-in chain: of other chains, on the one that comes before them in the path. In a
// table that is walked, a chain before any built-in one is none of iptables' and is not
// known to explain: it counts as walked, so that the paths differ.
func walkedPart(path []pathStep) []pathStep {
	var walked []pathStep
	table, builtin := "", ""
	for _, s := range path {
		if s.Table != table {
			table, builtin = s.Table, iptables.Output
		}
		name := strings.TrimPrefix(strings.TrimPrefix(table, "ip "), "ip6 ")
		if slices.Contains(iptables.BuiltinChains(name), s.Chain) {
			builtin = s.Chain
		}
		if foreign.IsMet(name, builtin) {
			walked = append(walked, s)
		}
	}
	return walked
}

// finding returns what the trace says about what is explained.
func (t *traced) finding() string {
	switch {
	case t.Refused != "":
		return fmt.Sprintf("shows no rule at all: the kernel did not send it (%s)", t.Refused)
	case len(t.Path) == 0 && t.Agrees && !t.unexplained:
		return "no rule was about it, as explained"
	case len(t.Path) == 0:
		return "shows no rule at all: it may be of a connection that is open"
	case !t.Agrees:
		return "differs from what is explained"
	case !t.unexplained:
		return "met the same rules, in the same order"
	case t.Verdict == explain.Unknown:
		return "shows these rules, of which one is not known here"
	}
	return "tells: " + fate(t.Verdict, t.Port)
}

func (t *traced) text(w io.Writer) {
	fmt.Fprintf(w, "\nthe kernel's trace of %s\n  %s\n", t.Packet, t.finding())
	for _, s := range t.Path {
		line := fmt.Sprintf("  %s %s %d  %s", s.Table, s.Chain, s.Position, iptables.Brief(s.Rule))
		if s.Position == 0 {
			line = fmt.Sprintf("  %s %s  %s", s.Table, s.Chain, cmp.Or(s.Rule, "a rule that iptables does not know"))
		}
		if s.Origin != "" {
			line += "  # " + s.Origin
		}
		fmt.Fprintln(w, line)
	}
	if t.Dropped {
		fmt.Fprintf(w, "  there it was dropped: %s\n", t.Why)
	}
}
