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
	"github.com/meshtables/meshtables/iptables/kernel"
	"github.com/meshtables/meshtables/iptables/kernel/nftables"
	"github.com/meshtables/meshtables/iptables/trace"
)

// traced is what the kernel did with a packet like the one in question.
type traced struct {
	// Agrees says that it met the rules that a packet as it was sent should.
	Agrees bool `json:"agrees"`
	// Dropped says that it ended at the last rule of the path, and Why why.
	Dropped bool   `json:"dropped"`
	Why     string `json:"why,omitempty"`
	// Refused is the kernel's error for a packet that came to no rule.
	Refused string      `json:"refused,omitempty"`
	Packet  askedPacket `json:"packet"`
	Path    []pathStep  `json:"path"`
}

// checkTrace refuses what cannot be traced.
func (s *subject) checkTrace() error {
	if s.form == kernel.Legacy {
		return fmt.Errorf("--trace: rules of %s cannot be traced\n"+
			hintPrefix+"nf_tables only reports the ways of packets; move the rules there with --backend=iptables-nft, or leave --trace out", s.backend)
	}
	return nil
}

// tracer returns the backend that knows the rules of a trace.
func (s *subject) tracer() *nftables.Backend {
	if s.form == kernel.Native {
		return nftables.NewNative()
	}
	return nftables.New()
}

// traceAll sends a packet for each answer and adds what became of it. It reports
// whether the kernel always did what was explained.
func (c *command) traceAll(ctx context.Context, q *question, s *subject, answers []explanation) (agree bool, err error) {
	agree = true
	for i := range answers {
		p := answers[i].before
		if q.from.Port() == 0 {
			p.SourcePort = 0
		}
		report, err := trace.Run(ctx, s.tracer(), p)
		if err != nil {
			return false, fmt.Errorf("--trace: %w", err)
		}
		// What was sent may have come in by another interface than the one
		// that was asked about.
		expected, err := explain.Walk(&s.rules, report.Sent)
		if err != nil {
			return false, err
		}
		want := newExplanation(report.Sent, expected, nil)
		t := &traced{Packet: want.Packet, Path: s.pathOf(report)}
		if n := len(report.Path); n > 0 && report.Path[n-1].Dropped {
			t.Dropped, t.Why = true, s.whyDropped(report, report.Path[n-1])
		}
		if report.Refused != nil && len(report.Path) == 0 {
			t.Refused = report.Refused.Error()
		}
		t.Agrees = t.Refused == "" && samePath(want.Path, t.Path, t.Dropped && expected.Verdict == explain.TProxied)
		answers[i].Trace = t
		agree = agree && t.Agrees
	}
	return agree, nil
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

// ruleOf returns the rule of a step, or nil if it is in no table that is walked, or is
// a policy.
func (s *subject) ruleOf(report trace.Report, step nftables.TraceStep) *iptables.Rule {
	t := s.rules.Table(report.Sent.Family(), step.Table)
	if t == nil {
		return nil
	}
	chain := t.Chain(step.Chain)
	if chain == nil || step.Position < 1 || step.Position > len(chain.Rules) {
		return nil
	}
	return &chain.Rules[step.Position-1]
}

// whyDropped tells why the packet ended at a step: targets that hand packets on drop
// those that they cannot.
func (s *subject) whyDropped(report trace.Report, step nftables.TraceStep) string {
	rule := s.ruleOf(report, step)
	if rule == nil {
		return "by what is not meshtables'"
	}
	switch rule.Target.(type) {
	case iptables.TProxy:
		return "TPROXY does that as long as no transparent socket listens on its port"
	case iptables.Redirect:
		return fmt.Sprintf("REDIRECT does that to what comes in by an interface without an %s address, as %s is here", report.Sent.Family(), report.Sent.In)
	}
	if rule.Origin == (iptables.Origin{}) {
		return "by what is not meshtables'"
	}
	return "as " + rule.Origin.String() + " asks for"
}

// samePath compares the rules that are walked; the kernel reports others too. What
// TPROXY has no socket for ends early.
func samePath(want, got []pathStep, early bool) bool {
	walked := walkedPart(got)
	if len(want) != len(walked) && (!early || len(want) < len(walked)) {
		return false
	}
	for i := range walked {
		if want[i].Table != walked[i].Table || want[i].Chain != walked[i].Chain || want[i].Position != walked[i].Position {
			return false
		}
	}
	return true
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
		if isWalked(name, builtin) {
			walked = append(walked, s)
		}
	}
	return walked
}

func (t *traced) text(w io.Writer) {
	fmt.Fprintf(w, "\nthe kernel's trace of %s\n", t.Packet)
	switch {
	case t.Agrees && len(t.Path) == 0:
		fmt.Fprintln(w, "  no rule was about it, as explained")
		return
	case t.Agrees:
		fmt.Fprintln(w, "  met the same rules, in the same order")
	case t.Refused != "":
		fmt.Fprintf(w, "  shows no rule at all: the kernel did not send it (%s)\n", t.Refused)
	case len(t.Path) == 0:
		fmt.Fprintln(w, "  shows no rule at all: it may be of a connection that is open")
	default:
		fmt.Fprintln(w, "  differs from what is explained")
	}
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
