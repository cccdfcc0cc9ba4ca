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
	// beside says that a BPF program of others is there, which the answer in JSON has to have
	// read with its name.
	beside bool
}

func (op operation) probes() bool { return len(op.extras) > 0 }

// operations returns them in an order in which each finds what the one before it
// left.
func operations() []operation {
	return []operation{
		{"`--dry-run`", []string{"--dry-run"}, clean, clean, nil, false},
		{"apply", redirected.args(), clean, redirected, nil, false},
		{"`verify`", []string{"verify"}, redirected, redirected, nil, false},
		{"`show`", []string{"show"}, redirected, redirected, nil, false},
		{"`show`, with BPF programs of others", []string{"show", "--output=json"}, redirected, redirected, nil, true},
		{"`explain --live`", []string{"explain", "--live"}, redirected, redirected, nil, false},
		{"`probe`", probing(redirected), redirected, redirected, []string{"inbound"}, false},
		{"apply `" + string(tproxied) + "`", tproxied.args(), redirected, tproxied, nil, false},
		{"`probe " + string(tproxied) + "`", probing(tproxied), tproxied, tproxied,
			[]string{"inbound", "proxy as client", "proxy to itself"}, false},
		{"`--cleanup-only`", clean.args(), tproxied, clean, nil, false},
	}
}

// probing returns the arguments of probe, with the options of the rules.
func probing(s state) []string { return slices.Concat([]string{"probe", "--output=json"}, s.args()) }

// outcome is how an operation ended.
type outcome int

const (
	failed outcome = iota
	// partial is to have done it, but not all of it: with a warning that rules may
	// be left, without some of the connections, or without what others run beside the rules.
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
	case op.beside:
		end = outcomeOfReading(t, stdout)
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

// outcomeOfReading looks for what could not be read of the programs of others.
func outcomeOfReading(t *testing.T, stdout []byte) outcome {
	t.Helper()
	var answer toldBeside
	if err := json.Unmarshal(stdout, &answer); err != nil {
		t.Fatalf("%v\n%s", err, stdout)
	}
	read := answer.Interceptors
	if len(read.Programs) == 1 && read.Programs[0].Name != "" && read.Unread == nil {
		return succeeded
	}
	if read.Unread == nil {
		t.Errorf("it does not say what it has not read:\n%s", stdout)
	}
	return partial
}
