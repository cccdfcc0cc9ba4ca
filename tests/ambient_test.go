package tests

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/tests/recorded"
	"github.com/meshtables/meshtables/tests/soak"
)

// TestAmbientLifecycle applies what every recorded run of ambient mode asks for, again, then
// other options, and removes everything, in a namespace where others have rules and routes.
func TestAmbientLifecycle(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, backend string) {
		for i, c := range recorded.AmbientPods(t) {
			if !soak.Turn(i, slices.Index(backends(), backend), len(backends())) {
				continue
			}
			t.Run(c.Name, func(t *testing.T) {
				t.Parallel()
				ambientLifecycle(t, backend, &c)
			})
		}
	})
}

func ambientLifecycle(t *testing.T, backend string, c *recorded.AmbientCase) {
	args := append(c.Args(), "--annotations="+writeFile(t, "annotations", c.Annotations()))
	stay{
		args:    args,
		others:  slices.Concat(args, []string{"--routing-table=101", "--excluded-outbound-ports=3306", "--excluded-cidrs=10.0.0.0/8"}),
		written: func(t *testing.T, p pod) { wantAmbient(t, p, c) },
		changed: func(t *testing.T, p pod) {
			if got := observeRouting(t, p); strings.Contains(got, "lookup 100 ") || !strings.Contains(got, "32764:\tfrom all fwmark 0x111/0xfff lookup 101 proto 109") {
				t.Errorf("the table did not change:\n%s", got)
			}
		},
	}.test(t, backend)
}

// stay is what a namespace goes through: args are applied, again, then others, and everything is
// removed. written and changed look at what is there after the first and the others.
type stay struct {
	args, others     []string
	written, changed func(*testing.T, pod)
}

// test goes through it in a namespace where others have rules and routes.
func (s stay) test(t *testing.T, backend string) {
	t.Helper()
	p := newPod(t, backend)
	for _, f := range iptables.Families() {
		program(t, p, foreign, programOf(backend, f, "restore"))
	}
	before := observe(t, p)

	at := []string{"--backend=" + backend}
	args := slices.Concat(s.args, at)
	wantSays(t, p, "applied", args...)
	s.written(t, p)
	wantOurs(t, p, args)
	once := observe(t, p)
	wantSays(t, p, "unchanged", args...)
	if diff := cmp.Diff(once, observe(t, p)); diff != "" {
		t.Errorf("after one run (-), after two (+):\n%s", diff)
	}

	others := slices.Concat(s.others, at)
	wantSays(t, p, "applied", others...)
	s.changed(t, p)
	wantOurs(t, p, others)
	wantSays(t, p, "removed", "--cleanup-only")
	if diff := cmp.Diff(before, observe(t, p)); diff != "" {
		t.Errorf("before (-), after removal (+):\n%s", diff)
	}
}

// wantOurs fails unless our rules and routing are right, whatever those of others do.
func wantOurs(t *testing.T, p pod, args []string) {
	t.Helper()
	_, out := run(t, p, append([]string{"verify"}, args...)...)
	if !strings.Contains(out, "("+p.backend+")") || slices.ContainsFunc([]string{"missing", "unexpected", "routing"}, func(fault string) bool { return strings.Contains(out, fault) }) {
		t.Errorf("verify says %s", out)
	}
}

func wantSays(t *testing.T, p pod, result string, args ...string) {
	t.Helper()
	if out := meshtables(t, p, args...); !strings.HasPrefix(out, result) {
		t.Errorf("%q: says %q, want %s", args, out, result)
	}
}

// wantAmbient fails unless the kernel holds what the reference writes: to the letter where
// iptables lists it.
func wantAmbient(t *testing.T, p pod, c *recorded.AmbientCase) {
	t.Helper()
	if p.backend != native {
		if diff := cmp.Diff(saved{c.Ruleset(t)}.text(), ownText(t, p)); diff != "" {
			t.Errorf("recorded (-), kernel (+):\n%s", diff)
		}
	}
	for i, args := range [][]string{{"rule"}, {"-6", "rule"}}[:len(c.Rules)] {
		if got := program(t, p, "", "ip", args...); !strings.Contains(got, c.Rules[i]+" proto 109\n") {
			t.Errorf("recorded %q, there is\n%s", c.Rules[i], got)
		}
	}
}

// What Istio's agent left is taken over, shown, and removed.
func TestAmbientOfReference(t *testing.T) {
	t.Parallel()
	c := recorded.AmbientPods(t)[0]
	p := newPod(t, "iptables-nft")
	before := observe(t, p)
	restoreRecorded(t, p, c.IPv4, c.IPv6)
	for _, family := range []string{"-4", "-6"} {
		program(t, p, "", "ip", family, "rule", "add", "priority", "32764", "fwmark", "0x111/0xfff", "lookup", "100")
		program(t, p, "", "ip", family, "route", "add", "local", "default", "dev", "lo", "table", "100")
	}
	wantSays(t, p, "unchanged", append(c.Args(), "--dataplane-mode=ambient")...)
	wantSays(t, p, "as wanted", append(c.Args(), "verify", "--dataplane-mode=ambient")...)
	for _, args := range [][]string{{"show"}, {"explain", "--live"}} {
		out := meshtables(t, p, args...)
		for _, want := range map[string][]string{
			"show":    {"mark the connection 0x111/0xfff", "fwmark 0x111/0xfff lookup 100", "--host-probe-address=169.254.7.127"},
			"explain": {"ambient, IPv4 and IPv6", "to port 15006"},
		}[args[0]] {
			if !strings.Contains(out, want) {
				t.Errorf("%s has no %q:\n%s", args[0], want, out)
			}
		}
	}
	wantSays(t, p, "removed", "--cleanup-only")
	after := observe(t, p)
	if strings.Contains(after, "ISTIO_") || observeRoutingOf(after) != observeRoutingOf(before) {
		t.Errorf("before\n%s\nafter removal\n%s", before, after)
	}
}

// restoreRecorded writes what was recorded of both families, as it was, by the backend's programs.
func restoreRecorded(t *testing.T, p pod, v4, v6 []string) {
	t.Helper()
	program(t, p, strings.Join(v4, "\n")+"\n", programOf(p.backend, iptables.IPv4, "restore"))
	program(t, p, strings.Join(v6, "\n")+"\n", programOf(p.backend, iptables.IPv6, "restore"))
}

// observeRoutingOf returns the part of what observe returns that is about routing.
func observeRoutingOf(observed string) string {
	_, routing, _ := strings.Cut(observed, "ip rule\n")
	return routing
}
