package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/probe"
)

// probeOptions are the options of the verbs that open connections.
type probeOptions struct {
	probeTimeout time.Duration
}

func (o *options) probeRows() []config.Row {
	return []config.Row{{Option: config.Option{
		Name: "probe-timeout", Shared: true,
		Usage: "time limit for all connections of probe or --run-validation together",
	}, Value: (*timeoutValue)(&o.probeTimeout)}}
}

// timeoutValue is a duration that is not 0.
type timeoutValue time.Duration

func (v *timeoutValue) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return errors.New("must be a duration such as 5s or 500ms")
	}
	*v = timeoutValue(d)
	return nil
}

func (v *timeoutValue) String() string { return time.Duration(*v).String() }
func (v *timeoutValue) Type() string   { return "time" }

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
	steps, err := c.try(ctx, rules, addresses)
	if err != nil {
		return c.failed(err)
	}
	return c.printSteps(probed{Result: resultOf(steps), Rules: about, Steps: steps}, steps)
}

// probed returns the rules to try, and says which they are.
func (c *command) probed(ctx context.Context) (rules iptables.Ruleset, about string, status int) {
	if c.asksForCapture() {
		p, status := c.plan(ctx)
		return p.Ruleset(), "what these options ask for", status
	}
	f, err := c.find(ctx)
	if err != nil {
		return rules, "", c.failed(err)
	}
	if len(f.Ours) == 0 {
		return rules, "no rules are installed", exitDone
	}
	return f.Ours[0].Rules, "the installed rules (" + f.Ours[0].Name + ")", exitDone
}

// asksForCapture reports whether any option says what to capture, even if it gives the
// default.
func (c *command) asksForCapture() bool {
	for _, o := range c.line.flags.Policy() {
		if c.line.set.Changed(o.Name) || slices.ContainsFunc(o.Variables(), c.isGiven) {
			return true
		}
	}
	return c.config != "" || c.annotations != ""
}

// isGiven reports whether a variable is set. Kubernetes sets some that only look like
// options, to addresses of services.
func (c *command) isGiven(variable string) bool {
	value := c.variable(variable)
	return value != "" && !strings.Contains(value, "://")
}

// try opens the connections that follow from rules.
func (c *command) try(ctx context.Context, rules iptables.Ruleset, addresses []netip.Prefix) ([]probe.Step, error) {
	return probe.Run(ctx, c.namespace, probe.Want{
		Rules: rules, Ownership: c.line.policy.Ownership(), Policy: c.line.policy, Addresses: addresses, Timeout: c.probeTimeout,
	})
}

// printSteps prints an answer and returns the exit status for its connections.
func (c *command) printSteps(a answer, steps []probe.Step) int {
	if status := c.print(a); status != exitDone {
		return status
	}
	failed := 0
	for _, s := range steps {
		if s.Failed() {
			failed++
		}
	}
	if failed == 0 {
		return exitDone
	}
	c.log.Error(fmt.Sprintf("%d of %d connections went to the wrong place\n", failed, len(steps)) +
		hintPrefix + "meshtables verify shows what differs, and meshtables explain --live which rules decide")
	return exitNotArrived
}

// probed is the answer of probe.
type probed struct {
	// Result is "passed", "failed", "cannot tell" if nothing failed but something could
	// not be tried, or "nothing is captured".
	Result string `json:"result"`
	// Rules says which rules were tried.
	Rules string       `json:"rules"`
	Steps []probe.Step `json:"steps"`
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
