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
	p := newPod(t, backend)
	for _, f := range iptables.Families() {
		program(t, p, foreign, programOf(backend, f, "restore"))
	}
	before := observe(t, p)

	args := append(c.Args(), "--backend="+backend, "--annotations="+writeFile(t, "annotations", c.Annotations()))
	wantSays(t, p, "applied", args...)
	wantAmbient(t, p, c)
	// There are foreign rules, but ours are right.
	if _, out := run(t, p, append([]string{"verify"}, args...)...); strings.Contains(out, "missing") || strings.Contains(out, "unexpected") || strings.Contains(out, "routing") {
		t.Errorf("verify says %s", out)
	}
	once := observe(t, p)
	wantSays(t, p, "unchanged", args...)
	if diff := cmp.Diff(once, observe(t, p)); diff != "" {
		t.Errorf("after one run (-), after two (+):\n%s", diff)
	}

	wantSays(t, p, "applied", append(args, "--routing-table=101", "--excluded-outbound-ports=3306", "--excluded-cidrs=10.0.0.0/8")...)
	if got := observeRouting(t, p); strings.Contains(got, "lookup 100 ") || !strings.Contains(got, "32764:\tfrom all fwmark 0x111/0xfff lookup 101 proto 109") {
		t.Errorf("the table did not change:\n%s", got)
	}
	if out := meshtables(t, p, "--cleanup-only"); out != "removed\n" {
		t.Errorf("removal says %q", out)
	}
	if diff := cmp.Diff(before, observe(t, p)); diff != "" {
		t.Errorf("before (-), after removal (+):\n%s", diff)
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
	program(t, p, strings.Join(c.IPv4, "\n")+"\n", "iptables-nft-restore")
	program(t, p, strings.Join(c.IPv6, "\n")+"\n", "ip6tables-nft-restore")
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

// observeRoutingOf returns the part of what observe returns that is about routing.
func observeRoutingOf(observed string) string {
	_, routing, _ := strings.Cut(observed, "ip rule\n")
	return routing
}
