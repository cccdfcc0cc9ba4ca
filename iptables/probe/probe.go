// Package probe opens real connections in a network namespace and sees that they
// arrive at the proxy's ports.
//
// It stands in for the proxy: it listens on its ports, so it works before the
// proxy starts. Where the proxy is running already, it cannot tell, and says so.
// All of it happens on the calling thread's network namespace.
package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"github.com/meshtables/meshtables/iptables"
)

// Timeout bounds one connection: everything happens on this machine.
const Timeout = 5 * time.Second

// Want is what has to be true.
type Want struct {
	// Rules are those in force.
	Rules iptables.Ruleset
	// OutboundPort and InboundPort are the proxy's.
	OutboundPort, InboundPort uint16
	// ProxyUID is the user that the proxy runs as.
	ProxyUID uint32
	// Addresses are those of the namespace.
	Addresses []netip.Prefix
}

// Outcome is what came of one connection.
type Outcome string

// The outcomes. Unknown is a connection that could not be tried.
const (
	Arrived Outcome = "arrived"
	Failed  Outcome = "failed"
	Unknown Outcome = "unknown"
)

// Step is one connection.
type Step struct {
	// Name tells direction and family, such as "outbound IPv4".
	Name    string         `json:"name"`
	To      netip.AddrPort `json:"to"`
	UID     uint32         `json:"uid"`
	Port    uint16         `json:"port"`
	Outcome Outcome        `json:"outcome"`
	// Detail says why the outcome is not Arrived.
	Detail string `json:"detail,omitempty"`
}

// Failed reports whether the connection did not arrive. One that could not be
// tried has not failed.
func (s Step) Failed() bool { return s.Outcome == Failed }

// String returns the step as a sentence.
func (s Step) String() string {
	text := fmt.Sprintf("%s: a connection of user %d to %s", s.Name, s.UID, s.To)
	switch s.Outcome {
	case Arrived:
		return fmt.Sprintf("%s arrived at port %d", text, s.Port)
	case Failed:
		return fmt.Sprintf("%s did not arrive at port %d: %s", text, s.Port, s.Detail)
	}
	return fmt.Sprintf("%s: cannot tell: %s", text, s.Detail)
}

// Run tries what the rules capture, per family and direction one connection, and
// returns a step for each. Where they capture nothing there is no step.
func Run(ctx context.Context, want Want) []Step {
	var steps []Step
	for _, c := range connections(want) {
		steps = append(steps, c.try(ctx))
	}
	return steps
}

func (c connection) try(ctx context.Context) Step {
	step := Step{Name: c.name, To: c.to, UID: c.uid, Port: c.port, Outcome: Arrived}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	err := c.arrives(ctx)
	var untried *untriedError
	switch {
	case errors.As(err, &untried):
		step.Outcome, step.Detail = Unknown, err.Error()
	case err != nil:
		step.Outcome, step.Detail = Failed, err.Error()
	}
	return step
}

// untriedError is why no connection could be tried: it says nothing about the
// rules.
type untriedError struct{ err error }

func (e *untriedError) Error() string { return e.err.Error() }
func (e *untriedError) Unwrap() error { return e.err }

func untried(err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		err = fmt.Errorf("the port is in use, by a running proxy perhaps: %w", err)
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		err = fmt.Errorf("there is no route: %w", err)
	case errors.Is(err, syscall.EPERM):
		err = fmt.Errorf("not permitted: %w", err)
	}
	return &untriedError{err}
}
