// Package probe opens real connections in a network namespace and sees that they
// arrive at the proxy's ports, and that those which must not do not.
//
// It stands in for the proxy: it listens on its ports, so it works before the
// proxy starts. Where the proxy is running already, it cannot tell, and says so.
// All of it happens in the network namespace that is given; what it makes there
// is gone when it returns, and also if the process is killed.
package probe

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// DefaultTimeout is enough for connections on one machine.
const DefaultTimeout = 5 * time.Second

// Want is what has to be true.
type Want struct {
	// Rules are those that have to be in force. Only what is ours of them is
	// looked at, so that foreign rules which get in the way are found out.
	Rules iptables.Ruleset
	// Ownership tells which of them are ours.
	Ownership iptables.Ownership
	Policy    Policy
	// Addresses are those of the namespace.
	Addresses []netip.Prefix
	// Timeout bounds how long connections may take, all together, from when the last of
	// them was opened: a busy machine takes its time to get there, which says nothing
	// about the rules.
	Timeout time.Duration
}

// Policy knows who the proxy is.
type Policy interface {
	// Proxies returns the users that may be the proxy by rules of a family, the
	// likeliest first.
	Proxies(rules *iptables.Ruleset, f iptables.Family) []uint32
	// Source returns the address from which the proxy connects to the application, or
	// the zero value where it has none of its own.
	Source(f iptables.Family) netip.Addr
}

// Outcome is what came of a [Step].
type Outcome string

// The outcomes. Unknown is a connection that could not be tried.
const (
	Passed  Outcome = "passed"
	Failed  Outcome = "failed"
	Unknown Outcome = "unknown"
)

// Step is one connection, or one datagram. Where one could not even be found, To is
// the zero value and the outcome Unknown.
type Step struct {
	// Name tells what it is about, such as "outbound".
	Name     string            `json:"name"`
	Family   string            `json:"family"`
	Protocol iptables.Protocol `json:"protocol"`
	// Who connects: "user 1337", "user 1000, group 50", or "someone outside".
	// From is set where it
	// matters.
	Who  string         `json:"who,omitempty"`
	From netip.Addr     `json:"from,omitzero"`
	To   netip.AddrPort `json:"to,omitzero"`
	// Want is the port where it has to arrive; 0 is for what must not arrive
	// at the proxy.
	Want uint16 `json:"want"`
	// Arrived is the port where it arrived, 0 if at none of the proxy's.
	Arrived uint16  `json:"arrived"`
	Outcome Outcome `json:"outcome"`
	// Detail says why the outcome is not Passed.
	Detail string `json:"detail,omitempty"`
}

// Failed reports whether the connection went elsewhere than it has to. One that
// could not be tried has not failed.
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

// Run tries what follows from the rules, per family: connections that they
// capture, inbound, outbound and for DNS, and those that would go round in circles
// if they did. It returns a step for each, and one for each direction that rules
// capture where no connection was found that they do; where nothing is captured
// there is none.
//
// An error means that it was interrupted or, which is not to be expected, that the
// calling thread could not go back to its network namespace and must not be used
// any more.
func Run(ctx context.Context, ns *namespace.Namespace, want Want) (steps []Step, err error) {
	err = ns.Do(func() (err error) {
		steps, err = runHere(ctx, want)
		return err
	})
	return steps, err
}

// runHere is for a thread of the namespace, which is that of the sockets that it opens.
func runHere(ctx context.Context, want Want) ([]Step, error) {
	attempts, untried := plan(want)
	post := newPost()
	defer post.close()
	there, err := prepare(ctx, attempts, post)
	defer func() {
		for _, a := range attempts {
			a.close()
		}
		there.close()
	}()
	if err != nil {
		return nil, err
	}
	watching, cancel := context.WithTimeout(ctx, want.Timeout)
	defer cancel()
	results := make([]<-chan Step, len(attempts))
	for i, a := range attempts {
		results[i] = a.watch(watching, post)
	}
	steps := make([]Step, len(attempts))
	for i := range results {
		steps[i] = <-results[i]
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("the probe was interrupted: %w", context.Cause(ctx))
	}
	return append(steps, untried...), nil
}
