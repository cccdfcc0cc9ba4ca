// Package probe opens real connections in a network namespace and checks which of them
// arrive at the proxy's ports.
//
// It stands in for the proxy: it listens on the proxy's ports, so it works before the
// proxy starts. If the proxy is running already, it cannot tell, and says so. Everything
// happens in the given network namespace. What it makes there is gone when it returns,
// and also if the process is killed.
package probe

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// DefaultTimeout is enough for connections on one machine.
const DefaultTimeout = 5 * time.Second

// Want is what to check.
type Want struct {
	// Rules are the rules that have to work. Run uses only ours among them, so that it
	// finds foreign rules that get in the way.
	Rules iptables.Ruleset
	// Ownership says which of them are ours.
	Ownership iptables.Ownership
	Policy    Policy
	// Addresses are the namespace's addresses.
	Addresses []netip.Prefix
	// Timeout limits how long all connections together may take, from the opening of the
	// last one: opening them takes long on a busy machine, which says nothing about the
	// rules.
	Timeout time.Duration
	// Wait limits how long to try all of it again while a connection goes to the wrong place:
	// somebody may be writing the rules. 0 is to try once.
	Wait time.Duration
	// Waiting, unless it is nil, is told of the steps before trying again.
	Waiting func([]Step)
}

// Policy knows who the proxy is.
type Policy interface {
	// Proxies returns what may be the proxy according to a family's rules, the likeliest
	// first.
	Proxies(rules *iptables.Ruleset, f iptables.Family) []explain.Proxy
	// Source returns the address from which the proxy connects to the application, or the
	// zero value if it has no special one.
	Source(f iptables.Family) netip.Addr
}

// Outcome is the result of a [Step].
type Outcome string

// The outcomes. Unknown is a connection that could not be tried.
const (
	Passed  Outcome = "passed"
	Failed  Outcome = "failed"
	Unknown Outcome = "unknown"
)

// Step is one connection, or one datagram. If none to try was found, To is the zero value
// and the outcome Unknown.
type Step struct {
	// Name says what it tests, such as "outbound".
	Name     string            `json:"name"`
	Family   string            `json:"family"`
	Protocol iptables.Protocol `json:"protocol"`
	// Who connects: "user 1337", "user 1000, group 50", "the proxy (mark 0x539)" or
	// "someone outside". From is set if it matters.
	Who  string         `json:"who,omitempty"`
	From netip.Addr     `json:"from,omitzero"`
	To   netip.AddrPort `json:"to,omitzero"`
	// Want is the port where it has to arrive, 0 if it must not arrive at the proxy.
	Want uint16 `json:"want"`
	// Arrived is the proxy's port where it arrived, or 0.
	Arrived uint16  `json:"arrived"`
	Outcome Outcome `json:"outcome"`
	// Detail says why the outcome is not Passed.
	Detail string `json:"detail,omitempty"`
}

// Failed reports whether the connection went to the wrong place. A connection that could
// not be tried has not failed.
func (s Step) Failed() bool { return s.Outcome == Failed }

// String returns the step as a sentence.
func (s Step) String() string {
	if !s.To.IsValid() {
		return fmt.Sprintf("%s %s: cannot tell: %s", s.Name, s.Family, s.Detail)
	}
	what := "connection"
	if s.Protocol == iptables.UDP {
		what = "datagram"
	}
	text := fmt.Sprintf("%s %s: a %s of %s", s.Name, s.Family, what, s.Who)
	if s.From.IsValid() {
		text += " from " + s.From.String()
	}
	text += " to " + s.To.String()
	switch {
	case s.Outcome == Unknown:
		return text + ": cannot tell: " + s.Detail
	case s.Outcome == Failed && s.Arrived == 0:
		return fmt.Sprintf("%s did not arrive at port %d: %s", text, s.Want, s.Detail)
	case s.Outcome == Failed:
		return fmt.Sprintf("%s arrived at port %d: %s", text, s.Arrived, s.Detail)
	case s.Want == 0:
		return text + " was left alone"
	}
	return fmt.Sprintf("%s arrived at port %d", text, s.Arrived)
}

// Run tries what follows from the rules, per family: connections that they capture,
// inbound, outbound and for DNS, and those that would loop if they were captured. It
// returns a step for each, and an Unknown step for each direction with capturing rules
// for which it finds no connection. If nothing is captured, there are no steps.
//
// An error means that it was interrupted.
func Run(ctx context.Context, ns *namespace.Namespace, want Want) (steps []Step, err error) {
	for end := time.Now().Add(want.Wait); ; {
		steps, err = runOnce(ctx, ns, want)
		if err != nil || !slices.ContainsFunc(steps, Step.Failed) || time.Until(end) < pauseBetween {
			return steps, err
		}
		if want.Waiting != nil {
			want.Waiting(steps)
		}
		select {
		case <-ctx.Done():
			return nil, interrupted(ctx)
		case <-time.After(pauseBetween):
		}
	}
}

// pauseBetween is how long to wait before trying again.
const pauseBetween = time.Second

func interrupted(ctx context.Context) error {
	return fmt.Errorf("the probe was interrupted: %w", context.Cause(ctx))
}

func runOnce(ctx context.Context, ns *namespace.Namespace, want Want) (steps []Step, err error) {
	err = ns.Do(func() (err error) {
		steps, err = runHere(ctx, ns, want)
		return err
	})
	return steps, err
}

// runHere runs on a thread of the namespace, so that its sockets are in it.
func runHere(ctx context.Context, ns *namespace.Namespace, want Want) ([]Step, error) {
	attempts, untried := plan(ctx, ns, want)
	post := newPost()
	defer post.close()
	there := prepare(ctx, ns, attempts, post)
	defer func() {
		for _, a := range attempts {
			a.close()
		}
		there.close()
	}()
	watching, cancel := context.WithTimeout(ctx, want.Timeout)
	defer cancel()
	results := make([]<-chan Step, len(attempts))
	for i, a := range attempts {
		results[i] = a.watch(watching)
	}
	steps := make([]Step, len(attempts))
	for i := range results {
		steps[i] = <-results[i]
	}
	if ctx.Err() != nil {
		return nil, interrupted(ctx)
	}
	return append(steps, untried...), nil
}
