package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/pod"
	"github.com/meshtables/meshtables/iptables/probe"
)

// probeOptions are the options of the verbs that open connections.
type probeOptions struct {
	probeTimeout time.Duration
	probeWait    time.Duration
}

func (o *options) probeRows() []config.Row {
	return []config.Row{{Option: config.Option{
		Name: "probe-timeout", Shared: true,
		Usage: "time limit for all connections of probe or --run-validation together",
	}, Value: &timeValue{&o.probeTimeout, 1, 0, "must be a duration such as 5s or 500ms"}}, {Option: config.Option{
		Name:  "wait",
		Usage: "while a connection goes to the wrong place, try again for this time, such as 2m (default 0)",
	}, Value: &timeValue{&o.probeWait, 0, longestWait, "must be a duration up to 1h, such as 2m or 30s, or 0 to try once"}}}
}

// longestWait is longer than anybody repairs by hand, and not for ever.
const longestWait = time.Hour

// probe opens connections that the rules capture: the rules that the options ask for
// or, without options, the installed ones.
func (c *command) probe(ctx context.Context) int {
	rules, about, status := c.probed(ctx)
	if status != exitDone {
		return status
	}
	addresses, err := host.Addresses(ctx, c.namespace)
	if err != nil {
		return c.failed(err)
	}
	if about.Steps, err = c.try(ctx, rules, addresses); err != nil {
		return c.failed(err)
	}
	if about.Result = resultOf(about.Steps); about.Result != "passed" {
		c.warnStrangers(ctx)
	}
	if about.incomplete != "" && about.Result != "failed" {
		about.Result = "incomplete"
	}
	status = c.printSteps(about, about.Steps)
	if about.incomplete == "" {
		return status
	}
	c.log.Warn("the rules are not whole: " + about.incomplete + "\n" + hintPrefix + "meshtables verify shows what differs")
	return max(status, exitDifferent)
}

// probed returns the rules to try, and says which they are. The installed rules may be
// damaged, so they only say which options to try if nothing else does.
func (c *command) probed(ctx context.Context) (rules iptables.Ruleset, about probed, status int) {
	if c.asksForCapture() {
		p, status := c.plan(ctx)
		return p.Ruleset(), probed{Rules: "what these options ask for"}, status
	}
	f, err := c.find(ctx)
	if err != nil {
		return rules, about, c.failed(err)
	}
	c.line.policy = c.policyOr(f.InstalledPolicy(policies()))
	p, source, ok, err := f.AskedPlan(ctx, c.namespace, c.line.policy)
	switch {
	case err != nil:
		return rules, about, c.failed(err)
	case !ok:
		return rules, probed{Rules: "no rules are installed"}, exitDone
	case source == pod.Recorded:
		about.Rules = "what was asked for: " + brief(p.Wanted.Arguments())
	default:
		about.Rules = fmt.Sprintf("the options found in the rules (%s): %s", f.Live().Name, brief(p.Wanted.Arguments()))
	}
	about.incomplete = damage(&f, &p, source)
	return p.Ruleset(), about, exitDone
}

// warnStrangers warns of what foreign rules do to the traffic that the installed rules
// capture.
func (c *command) warnStrangers(ctx context.Context) {
	f, err := pod.Find(ctx, c.namespace, policies().Ownership(), c.backend)
	if err != nil {
		return
	}
	if findings, err := pod.JudgeFound(ctx, c.namespace, c.line.policy, &f); err == nil {
		c.warn(pod.WarningsOf(findings))
	}
}

// damage returns how the installed rules differ from a plan, in a few words, or "".
func damage(f *pod.Found, p *pod.Plan, source string) string {
	path := f.Path(f.Live().Form)
	path.Rules = path.Ownership.ReadComments(path.Rules)
	return intended(&path, p, source).Summary()
}

// try opens the connections that follow from rules, again and again if that was asked for.
func (c *command) try(ctx context.Context, rules iptables.Ruleset, addresses []netip.Prefix) ([]probe.Step, error) {
	said := false
	return probe.Run(ctx, c.namespace, probe.Want{
		Rules: rules, Ownership: c.line.policy.Ownership(), Policy: c.line.policy, Addresses: addresses, Timeout: c.probeTimeout,
		Wait: c.probeWait, Waiting: func(steps []probe.Step) {
			if !said {
				c.log.Warn(fmt.Sprintf("%s; trying again for up to %s", misled(steps), c.probeWait))
			}
			said = true
		},
	})
}

// misled returns how many connections went to the wrong place; "" if none did.
func misled(steps []probe.Step) string {
	failed := 0
	for _, s := range steps {
		if s.Failed() {
			failed++
		}
	}
	if failed == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d connections went to the wrong place", failed, len(steps))
}

// printSteps prints an answer and returns the exit status for its connections.
func (c *command) printSteps(a answer, steps []probe.Step) int {
	if status := c.print(a); status != exitDone {
		return status
	}
	failed := misled(steps)
	if failed == "" {
		return exitDone
	}
	c.log.Error(failed + "\n" +
		hintPrefix + "meshtables verify shows what differs, and meshtables explain --live which rules decide")
	return exitNotArrived
}

// probed is the answer of probe.
type probed struct {
	// Result is "passed", "failed", "incomplete" if nothing failed but the installed rules
	// are not whole, "cannot tell" if nothing failed but something could not be tried, or
	// "nothing is captured".
	Result string `json:"result"`
	// Rules says which rules were tried.
	Rules string       `json:"rules"`
	Steps []probe.Step `json:"steps"`

	// incomplete says how the installed rules differ from those that were tried.
	incomplete string
}

func resultOf(steps []probe.Step) string {
	has := func(o probe.Outcome) bool {
		return slices.ContainsFunc(steps, func(s probe.Step) bool { return s.Outcome == o })
	}
	switch {
	case len(steps) == 0:
		return "nothing is captured"
	case has(probe.Failed):
		return "failed"
	case has(probe.Unknown):
		return "cannot tell"
	}
	return "passed"
}

func (p probed) text(w io.Writer) {
	fmt.Fprintf(w, "%s: %s\n", p.Result, p.Rules)
	writeSteps(w, p.Steps)
}

func writeSteps(w io.Writer, steps []probe.Step) {
	for _, s := range steps {
		fmt.Fprintf(w, "%-7s  %s\n", s.Outcome, s)
	}
}
