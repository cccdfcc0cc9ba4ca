package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/tests/built"
	"github.com/meshtables/meshtables/tests/lab"
	"github.com/meshtables/meshtables/tests/recorded"
)

// TestExplainIsWhatTheKernelTraces asks the kernel, for some recorded runs and
// connections of each, by which rules packets go. Traces take their time: the end
// of one is that nothing more comes.
func TestExplainIsWhatTheKernelTraces(t *testing.T) {
	t.Parallel()
	for _, backend := range overNetlink() {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			tracesAsExplained(t, backend)
		})
	}
}

func tracesAsExplained(t *testing.T, backend string) {
	const every = 7
	cases := recorded.Cases(t)
	w := newWitness(t, backend)
	for i := 0; i < len(cases); i += every {
		c := &cases[i]
		w.pod = w.forCase(c)
		apply(t, w.pod, caseArgs(c)...)
		planned := planCase(t, w.pod, c)
		random := rand.New(rand.NewPCG(20261121, uint64(i)))
		f := lab.Families()[i/every%2]
		attempts := newSampler(&planned.rules, f, random).attempts()
		random.Shuffle(len(attempts), func(i, j int) { attempts[i], attempts[j] = attempts[j], attempts[i] })
		for _, a := range attempts[:min(4, len(attempts))] {
			if a.in && a.mark != 0 {
				continue
			}
			w.connections++
			if err := w.trace(t, a); err != nil {
				t.Errorf("%s: explain %s --trace: %v", c.Name, strings.Join(a.args(), " "), err)
			}
		}
	}
	if w.connections < 30 {
		t.Errorf("%d packets prove little", w.connections)
	}
}

func (w *witness) trace(t *testing.T, a attempt) error {
	t.Helper()
	var told struct {
		Verdict explain.Verdict
		ByRules struct{ Verdict explain.Verdict }
		Path    []struct{ Table, Chain, Rule string }
		Trace   struct {
			Agrees bool
			Path   []struct{ Table, Chain, Rule string }
		}
	}
	var out, messages bytes.Buffer
	err := w.Pod.Run(t.Context(), lab.Command{
		Path: built.Program(), Args: slices.Concat([]string{"explain"}, a.args(), []string{"--trace", "-O", "json"}),
		Env: []string{}, Stdout: &out, Stderr: &messages,
	})
	if err := json.Unmarshal(out.Bytes(), &told); err != nil {
		return fmt.Errorf("%w\n%s", err, &messages)
	}
	// Here nobody listens for what TPROXY takes, which the kernel then drops.
	unheard := told.Verdict == explain.Dropped && told.ByRules.Verdict == explain.TProxied
	if err != nil && !unheard || !told.Trace.Agrees {
		return fmt.Errorf("%w\nexplained: %v\ntraced:    %v", err, told.Path, told.Trace.Path)
	}
	return nil
}

// A trace can be had again while the proxy has the connection of the last one, which
// it answers.
func TestTraceAgain(t *testing.T) {
	t.Parallel()
	p := newPod(t, "iptables-nft")
	apply(t, p)
	serveProxy(t, p, false)
	for range 2 {
		if out := ask(t, p, "explain", "in", ":8080", "--trace"); strings.Count(out, "matched the same rules") != 2 || strings.Contains(out, "dropped") {
			t.Error(out)
		}
	}
}

var ruleCounters = regexp.MustCompile(`counter packets \d+ bytes \d+`)

// A trace that is killed leaves nothing behind.
func TestKilledTraceLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, direction := range [][]string{{"out", "203.0.113.10:80"}, {"in", ":80"}} {
		p := newPod(t, "iptables-nft")
		apply(t, p)
		before := program(t, p, "", "nft", "list", "ruleset")
		ctx, kill := context.WithCancel(t.Context())
		killed := make(chan error, 1)
		go func() {
			killed <- p.Pod.Run(ctx, lab.Command{
				Path: built.Program(), Args: append(append([]string{"explain"}, direction...), "--trace"), Env: []string{},
			})
		}()
		for deadline := time.Now().Add(lab.DefaultTimeout); !strings.Contains(program(t, p, "", "nft", "list", "tables"), "meshtables_trace"); {
			if time.Now().After(deadline) {
				t.Fatal("there is no trace to kill")
			}
		}
		kill()
		if err := <-killed; err == nil {
			t.Fatal("it ended before it was killed")
		}
		withoutCounters := func(s string) string { return ruleCounters.ReplaceAllString(s, "") }
		if after := program(t, p, "", "nft", "list", "ruleset"); withoutCounters(after) != withoutCounters(before) {
			t.Errorf("%v: before:\n%s\nafter:\n%s", direction, before, after)
		}
		if links := program(t, p, "", "ip", "-o", "link"); strings.Contains(links, "meshtables0") {
			t.Errorf("%v: interfaces are left: %s", direction, links)
		}
	}
}
