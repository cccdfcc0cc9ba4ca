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
	// Verdict and Port are the result of the rules on the path; see explanation. Verdict
	// can also be [trace.Refused].
	Verdict explain.Verdict `json:"verdict"`
	Port    uint16          `json:"port"`
	// Agrees says that the packet, as it was sent, matched the expected rules; if these
	// are not all known, that it began with the known ones.
	Agrees bool `json:"agrees"`
	// Dropped says that the last rule of the path dropped it; Why says why.
	Dropped bool   `json:"dropped"`
	Why     string `json:"why,omitempty"`
	// Refused is the kernel's error for a packet that it did not send.
	Refused string      `json:"refused,omitempty"`
	Packet  askedPacket `json:"packet"`
	Path    []pathStep  `json:"path"`

	// unexplained says that the expected rules are not all known, and surprises that the
	// kernel did something else than the rules say.
	unexplained, surprises bool
	// hidden says that a legacy rule decides, which nf_tables does not report.
	hidden bool
	// end is where the packet was dropped or, if one of our targets dropped it, why.
	end string
}

// checkTrace refuses what cannot be traced.
func (s *subject) checkTrace() error {
	if s.path.Form == installed.Legacy {
		return fmt.Errorf("--trace: cannot trace the rules of %s\n"+
			hintPrefix+"only nf_tables can trace packets; move the rules there with --backend=iptables-nft, or leave --trace out", s.backend)
	}
	return nil
}

// traceAll sends a packet for each answer and adds what happened to it. The exit status
// says whether the kernel always did what was explained. If neither the rules nor the
// kernel gave an answer, it is exitFailed.
func (c *command) traceAll(ctx context.Context, q *question, s *subject, answers []explanation) (status int, err error) {
	agree, told := true, true
	for i := range answers {
		p := answers[i].before
		if q.from.Port() == 0 {
			p.SourcePort = 0
		}
		report, err := trace.Run(ctx, c.namespace, s.path.Ownership, s.path.Form, p)
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
		c.log.Error("cannot explain this connection: explain does not know one of the rules, and the kernel's trace shows nothing")
		return exitFailed, nil
	case !agree:
		return exitDifferent, nil
	}
	return exitDone, nil
}

func (s *subject) newTraced(report *trace.Report) *traced {
	// The packet may have come in via another interface than the one in the question.
	// If the walk fails, the answer says where; the path up to there is known.
	expected := explain.WalkPath(&s.path, report.Sent)
	want := newExplanation(report.Sent, expected, nil)
	t := &traced{Packet: want.Packet, Path: s.pathOf(report)}
	t.Verdict, t.Port = report.Verdict(&s.path)
	if t.hidden = trace.Hides(expected); t.hidden && !report.Dropped() && t.Verdict != trace.Refused {
		t.Verdict, t.Port = explain.Unknown, 0
	}
	if report.Dropped() {
		t.Dropped, t.Why, t.end = true, report.WhyDropped(&s.path), t.Path[len(t.Path)-1].place()
		if report.TargetFailed(&s.path) {
			t.end = t.Why
		}
	}
	if t.Verdict == trace.Refused {
		t.Refused = report.Refused.Error()
	}
	t.Agrees = t.Refused == "" && report.Agrees(&s.path, expected)
	t.unexplained = expected.Verdict == explain.Unknown
	t.surprises = t.Verdict != explain.Unknown && (t.Verdict != expected.Verdict || t.Port != expected.Port)
	return t
}

// add adds what the kernel did. That is the answer if the rules say something else.
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
	rules := "the rules say: " + fate(by.Verdict, by.Port)
	if by.Verdict == explain.Unknown {
		rules = "the rules do not say"
	}
	return rules + "; the kernel " + t.action()
}

// action returns what the kernel did, in words.
func (t *traced) action() string {
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

// place names a rule or policy on the path of a packet.
func (s pathStep) place() string {
	switch {
	case s.Position > 0:
		return fmt.Sprintf("rule %d of %s %s", s.Position, s.Table, s.Chain)
	case s.Rule != "":
		return fmt.Sprintf("%s of %s %s", s.Rule, s.Table, s.Chain)
	}
	return fmt.Sprintf("a rule of %s %s", s.Table, s.Chain)
}

// pathOf returns the rules that the kernel reports, with their origins.
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

// finding compares the trace with the explanation, in words.
func (t *traced) finding() string {
	switch {
	case t.Refused != "" && len(t.Path) == 0:
		return fmt.Sprintf("shows no rule: the kernel did not send the packet (%s)", t.Refused)
	case t.Refused != "":
		return fmt.Sprintf("shows these rules; the kernel did not send the packet (%s)", t.Refused)
	case t.hidden && t.Agrees:
		return "matched the same rules as far as nf_tables reports them; it does not report legacy ones"
	case len(t.Path) == 0 && t.Agrees && !t.unexplained:
		return "no rule matched, as explained"
	case len(t.Path) == 0:
		return "shows no rule: the packet may belong to an open connection"
	case !t.Agrees:
		return "differs from the explanation"
	case !t.unexplained:
		return "matched the same rules, in the same order"
	case t.Verdict == explain.Unknown:
		return "shows these rules; explain does not know one of them"
	}
	return "says: " + fate(t.Verdict, t.Port)
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
