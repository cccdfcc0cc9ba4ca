package main

import (
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/trace"
)

// traced is what the kernel did with a packet like the one in question.
type traced struct {
	// Verdict and Port are what the rules of the path came to, see explanation, or
	// [trace.Refused].
	Verdict explain.Verdict `json:"verdict"`
	Port    uint16          `json:"port"`
	// Agrees says that it met the rules that a packet as it was sent should; where
	// these cannot be told, that it began by those that can.
	Agrees bool `json:"agrees"`
	// Dropped says that it ended at the last rule of the path, and Why why.
	Dropped bool   `json:"dropped"`
	Why     string `json:"why,omitempty"`
	// Refused is the kernel's error for a packet that it did not send.
	Refused string      `json:"refused,omitempty"`
	Packet  askedPacket `json:"packet"`
	Path    []pathStep  `json:"path"`

	// unexplained says that the rules did not tell what to expect, and surprises that
	// the kernel did something else than they say.
	unexplained, surprises bool
	// end is where the packet was dropped or, if a target of ours did that, why.
	end string
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
		report, err := trace.Run(ctx, c.namespace, s.path.Ownership, s.form, p)
		if err != nil {
			return exitFailed, fmt.Errorf("--trace: %w", err)
		}
		t := s.newTraced(&report)
		answers[i].add(t)
		agree = agree && t.Agrees && (!t.surprises || t.unexplained)
		told = told && (answers[i].Verdict != explain.Unknown || len(t.Path) > 0)
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

func (s *subject) newTraced(report *trace.Report) *traced {
	// What was sent may have come in by another interface than the one that was
	// asked about. What the walk fails at is in the answer; its beginning is known.
	expected, _ := explain.WalkPath(&s.path, report.Sent)
	want := newExplanation(report.Sent, expected, nil)
	t := &traced{Packet: want.Packet, Path: s.pathOf(report)}
	t.Verdict, t.Port = report.Verdict(&s.path)
	if report.Dropped() {
		t.Dropped, t.Why, t.end = true, report.WhyDropped(&s.path), t.Path[len(t.Path)-1].place()
		if report.TargetFailed(&s.path) {
			t.end = t.Why
		}
	}
	if t.Verdict == trace.Refused {
		t.Refused = report.Refused.Error()
	}
	t.Agrees = t.Refused == "" && report.Agrees(expected)
	t.unexplained = expected.Verdict == explain.Unknown
	t.surprises = t.Verdict != explain.Unknown && (t.Verdict != expected.Verdict || t.Port != expected.Port)
	return t
}

// add adds what the kernel did, which is the answer where the rules say something else.
func (e *explanation) add(t *traced) {
	e.Trace = t
	if !t.surprises {
		return
	}
	e.ByRules = &byRules{Verdict: e.Verdict, Port: e.Port}
	e.Verdict, e.Port = t.Verdict, t.Port
}

// contrast returns what the rules say and what the kernel did instead.
func (t *traced) contrast(by *byRules) string {
	rules := "the rules say " + fate(by.Verdict, by.Port)
	if by.Verdict == explain.Unknown {
		rules = "the rules do not tell"
	}
	return rules + ", the kernel " + t.deed()
}

// deed returns what the kernel did, in words.
func (t *traced) deed() string {
	switch t.Verdict {
	case explain.Dropped:
		return "dropped the packet: " + t.end
	case trace.Refused:
		return "did not send the packet: " + t.Refused
	case explain.Redirected:
		return fmt.Sprintf("redirected the packet to port %d", t.Port)
	case explain.TProxied:
		return fmt.Sprintf("handed the packet to port %d", t.Port)
	}
	return "let the packet bypass the proxy"
}

// place names a rule or policy that a packet met.
func (s pathStep) place() string {
	switch {
	case s.Position > 0:
		return fmt.Sprintf("rule %d of %s %s", s.Position, s.Table, s.Chain)
	case s.Rule != "":
		return fmt.Sprintf("%s of %s %s", s.Rule, s.Table, s.Chain)
	}
	return fmt.Sprintf("a rule of %s %s", s.Table, s.Chain)
}

// pathOf returns what the kernel reports, with the origins of the rules.
func (s *subject) pathOf(report *trace.Report) []pathStep {
	path := make([]pathStep, len(report.Path))
	for i, step := range report.Path {
		path[i] = pathStep{Table: step.Table, Chain: step.Chain, Position: step.Position, Rule: step.Rule}
		if rule := report.Rule(&s.path, step); rule != nil {
			path[i].Origin = rule.Origin.String()
		}
		if step.Position == 0 && step.Policy {
			path[i].Rule = "policy DROP"
		}
	}
	return path
}

// finding returns what the trace says about what is explained.
func (t *traced) finding() string {
	switch {
	case t.Refused != "" && len(t.Path) == 0:
		return fmt.Sprintf("shows no rule at all: the kernel did not send it (%s)", t.Refused)
	case t.Refused != "":
		return fmt.Sprintf("shows these rules, and that the kernel did not send it (%s)", t.Refused)
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
