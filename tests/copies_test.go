package tests

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/tests/soak"
)

// Copies that are started at the same moment in one namespace with the same
// options all succeed, and leave what one of them alone leaves.
func TestCopies(t *testing.T) {
	t.Parallel()
	args := []string{"--mode=TPROXY", "--redirect-dns"}
	forEachBackend(t, func(t *testing.T, backend string) {
		p := newPod(t, backend)
		apply(t, p, args...)
		want := observe(t, p)
		for _, copies := range []int{2, 10} {
			for range soak.Times(10, 20) / copies {
				cleanup(t, p)
				runCopies(t, p, slices.Repeat([][]string{args}, copies))
				if diff := cmp.Diff(want, observe(t, p)); diff != "" {
					t.Fatalf("one run (-), %d at once (+):\n%s", copies, diff)
				}
			}
		}
	})
}

// Copies with different options all succeed too, and one of them has its way as a
// whole.
func TestCopiesThatDisagree(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, backend string) {
		p := newPod(t, backend)
		options := capturing()
		var wants []string
		for _, args := range options {
			apply(t, p, args...)
			wants = append(wants, ownState(t, p))
		}
		for _, copies := range []int{2, len(options)} {
			for first := range soak.Times(2, 5) {
				args := slices.Concat(options, options)[first : first+copies]
				cleanup(t, p)
				runCopies(t, p, args)
				if got := ownState(t, p); !slices.Contains(wants, got) {
					t.Fatalf("what none of %q alone leaves:\n%s", args, got)
				}
			}
		}
	})
}

// priority is that of a routing rule. The kernel chooses it by the rules that are
// there already.
var priority = regexp.MustCompile(`(?m)^\d+:\t`)

// ownState returns all that is ours. Unlike observe it leaves out the empty tables
// that the programs make and never remove.
func ownState(t *testing.T, p pod) string {
	t.Helper()
	routing := priority.ReplaceAllString(observeRouting(t, p), "")
	return ownText(t, p) + volatile.ReplaceAllString(routing, "")
}

// runCopies runs the program once for each list of arguments, all at the same
// time. Each run must succeed.
func runCopies(t *testing.T, p pod, args [][]string) {
	t.Helper()
	errs := make([]error, len(args))
	var running sync.WaitGroup
	for i := range args {
		running.Go(func() {
			var out bytes.Buffer
			c := p.command(append([]string{"--backend=" + p.backend}, args[i]...)...)
			c.Stdout, c.Stderr = &out, &out
			if err := p.Pod.Run(t.Context(), c); err != nil {
				errs[i] = fmt.Errorf("meshtables %s: %w\n%s", strings.Join(c.Args, " "), err, &out)
			}
		})
	}
	running.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("of %d at once:\n%v", len(args), err)
	}
}
