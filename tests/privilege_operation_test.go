package tests

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// state is what stands in the pod, as the arguments that lead to it.
type state string

const (
	clean      state = "--cleanup-only"
	redirected state = "--mode=REDIRECT"
	tproxied   state = "--mode=TPROXY --redirect-dns"
)

func (s state) args() []string { return strings.Fields(string(s)) }

// operation is one thing that the program does.
type operation struct {
	name string
	args []string
	// from is what has to stand before it; to is what stands after it.
	from, to state
	// extras are, for probe, the connections without which it is done in part. It
	// waits for connections, and has nothing to do with the backend: what it needs is
	// established with the first only.
	extras []string
}

func (op operation) probes() bool { return len(op.extras) > 0 }

// operations returns them in an order in which each finds what the one before it
// left.
func operations() []operation {
	return []operation{
		{"`--dry-run`", []string{"--dry-run"}, clean, clean, nil},
		{"apply", redirected.args(), clean, redirected, nil},
		{"`verify`", []string{"verify"}, redirected, redirected, nil},
		{"`show`", []string{"show"}, redirected, redirected, nil},
		{"`explain --live`", []string{"explain", "--live"}, redirected, redirected, nil},
		{"`probe`", probing(redirected), redirected, redirected, []string{"inbound"}},
		{"apply `" + string(tproxied) + "`", tproxied.args(), redirected, tproxied, nil},
		{"`probe " + string(tproxied) + "`", probing(tproxied), tproxied, tproxied,
			[]string{"inbound", "proxy as client", "proxy to itself"}},
		{"`--cleanup-only`", clean.args(), tproxied, clean, nil},
	}
}

// probing returns the arguments of probe, with the options of the rules.
func probing(s state) []string { return slices.Concat([]string{"probe", "--output=json"}, s.args()) }

// outcome is how an operation ended.
type outcome int

const (
	failed outcome = iota
	// partial is to have done it, but not all of it: with a warning that rules may
	// be left, or without some of the connections.
	partial
	succeeded
)

// outcomeOf returns how a run of the operation ended.
func (op operation) outcomeOf(t *testing.T, err error, stdout []byte, stderr string) outcome {
	t.Helper()
	end := succeeded
	switch {
	case err != nil:
		return failed
	case op.probes():
		end = op.outcomeOfSteps(t, stdout)
	}
	if strings.Contains(stderr, "warning: ") {
		end = min(end, partial)
	}
	return end
}

// outcomeOfSteps looks for connections that were not tried.
func (op operation) outcomeOfSteps(t *testing.T, stdout []byte) outcome {
	t.Helper()
	var answer struct {
		Steps []struct{ Name, Outcome string }
	}
	if err := json.Unmarshal(stdout, &answer); err != nil || len(answer.Steps) == 0 {
		t.Fatalf("%v, %d connections\n%s", err, len(answer.Steps), stdout)
	}
	end := succeeded
	for _, step := range answer.Steps {
		switch {
		case step.Outcome == "passed":
		case slices.Contains(op.extras, step.Name):
			end = min(end, partial)
		default:
			end = failed
		}
	}
	return end
}
