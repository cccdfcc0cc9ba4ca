package tests

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/tests/recorded"
	"github.com/meshtables/meshtables/tests/soak"
)

// TestLinkerdLifecycle applies the arguments of every recorded run of linkerd2-proxy-init, as
// they are, again, then other options, and removes everything, in a namespace where others have
// rules and routes.
func TestLinkerdLifecycle(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, backend string) {
		for i, c := range recorded.LinkerdCases(t) {
			if !soak.Turn(i, slices.Index(backends(), backend), len(backends())) {
				continue
			}
			t.Run(c.Name, func(t *testing.T) {
				t.Parallel()
				linkerdLifecycle(t, backend, &c)
			})
		}
	})
}

func linkerdLifecycle(t *testing.T, backend string, c *recorded.LinkerdCase) {
	stay{
		args: c.Args,
		// Lists add up.
		others: slices.Concat(c.Args, []string{"--outbound-ports-to-ignore", "3306", "--inbound-ports-to-ignore=9990-9999", "-p", "4243", "--proxy-gid=2104"}),
		written: func(t *testing.T, p pod) {
			if p.backend == native {
				return
			}
			if diff := cmp.Diff(saved{c.Ruleset(t)}.text(), ownText(t, p)); diff != "" {
				t.Errorf("recorded (-), kernel (+):\n%s", diff)
			}
		},
		changed: func(t *testing.T, p pod) {
			text := ownText(t, p)
			for _, port := range []string{"3306", "9990", "4243", "2104"} {
				if !strings.Contains(text, port) {
					t.Errorf("there is no %s in\n%s", port, text)
				}
			}
		},
	}.test(t, backend)
}

// What linkerd2-proxy-init left, comments and all, is understood, as wanted by its arguments,
// and removed.
func TestLinkerdOfReference(t *testing.T) {
	t.Parallel()
	for i, backend := range []string{"iptables-nft", "iptables-legacy"} {
		for n, c := range recorded.LinkerdCases(t) {
			if !slices.Contains(backends(), backend) || !soak.Turn(n, i, 2) {
				continue
			}
			t.Run(backend+" "+c.Name, func(t *testing.T) {
				t.Parallel()
				p := newPodOfReference(t, backend, &c)
				before := observe(t, p)
				wantTakenOver(t, p, &c)
				if diff := cmp.Diff(before, observe(t, p)); diff != "" {
					t.Errorf("before (-), after asking and applying (+):\n%s", diff)
				}
				wantSays(t, p, "removed", "--cleanup-only")
				if after := observe(t, p); strings.Contains(after, "PROXY_INIT_") || strings.Contains(after, "proxy-init/") {
					t.Errorf("left over:\n%s", after)
				}
				wantSays(t, p, "nothing to remove", "--cleanup-only")
			})
		}
	}
}

// What linkerd2-proxy-init left changes to other options, and moves to another backend, as
// rules of our own do.
func TestLinkerdChangesReference(t *testing.T) {
	t.Parallel()
	all := recorded.LinkerdCases(t)
	for i, from := range []string{"iptables-nft", "iptables-legacy"} {
		for n, to := range backends() {
			if !slices.Contains(backends(), from) || !soak.Turn(n, i, 2) {
				continue
			}
			t.Run(from+" "+to, func(t *testing.T) {
				t.Parallel()
				c := &all[n%len(all)]
				p := newPodOfReference(t, from, c)
				args := slices.Concat(c.Args, []string{"--backend=" + to, "--outbound-ports-to-ignore=3306", "--proxy-gid=2104"})
				wantSays(t, p, "applied", args...)
				wantSays(t, p, "as wanted", append([]string{"verify"}, args...)...)
				p.backend = to
				// Rules that are right stay, with their comments.
				text := ofReference.ReplaceAllString(ownText(t, p), "")
				if diff := cmp.Diff(appliedAlone(t, to, args), text); diff != "" {
					t.Errorf("alone (-), over what the reference wrote (+):\n%s", diff)
				}
				wantSays(t, p, "removed", "--cleanup-only")
				if after := observe(t, p); strings.Contains(after, "PROXY_INIT_") {
					t.Errorf("left over:\n%s", after)
				}
			})
		}
	}
}

// ofReference is a comment of linkerd2-proxy-init's.
var ofReference = regexp.MustCompile(` -m comment --comment "proxy-init/[^"]*"`)

// appliedAlone returns what is ours after applying arguments where nothing is.
func appliedAlone(t *testing.T, backend string, args []string) string {
	t.Helper()
	p := newPod(t, backend)
	meshtables(t, p, args...)
	return ownText(t, p)
}

// newPodOfReference makes a pod with the families of a recorded run, and with what the reference
// wrote there.
func newPodOfReference(t *testing.T, backend string, c *recorded.LinkerdCase) pod {
	t.Helper()
	p := newPod(t, backend)
	if !hasRules(c.IPv6) {
		program(t, p, "", "ip", "-6", "addr", "flush", "dev", "eth0")
	}
	restoreRecorded(t, p, c.IPv4, c.IPv6)
	return p
}

// wantTakenOver asks about everything that the reference wrote. No verb is told whose it is.
func wantTakenOver(t *testing.T, p pod, c *recorded.LinkerdCase) {
	t.Helper()
	title := "linkerd, IPv4"
	if hasRules(c.IPv6) {
		title = "linkerd, IPv4 and IPv6"
	}
	var options []string
	for _, option := range c.Config(t).Arguments() {
		// Long lists are cut, and show has a line for each rule.
		option, _, _ = strings.Cut(option, ",")
		// No rule says that a list is empty.
		if !strings.HasPrefix(option, "--ipv6=") && !strings.HasSuffix(option, "=") {
			options = append(options, option)
		}
	}
	speaking := func(line string, want ...string) question { return asking(line, slices.Concat(options, want)...) }
	asWanted, at := "as wanted ("+p.backend+")", "--backend="+p.backend
	wantAnswers(t, p, []question{
		speaking("verify "+at, asWanted, "compared with the options found in the rules"),
		{slices.Concat([]string{"verify", at}, c.Args), []string{asWanted}},
		{slices.Concat([]string{at}, c.Args), []string{"unchanged"}},
		speaking("explain --live", title, "to port 4143", "to port 4140", "--proxy-uid=2102"),
		asking("explain in 10.244.1.7:80 --live", redirectedIn(c)...),
		asking("explain out 203.0.113.10:80 --live", "redirected to port 4140", "# --outbound-port=4140"),
		speaking("show", "redirect to port 4140", "of user 2102 → return", "# built-in (loopback)"),
		speaking("probe", "passed: the options found in the rules", "arrived at port 4140", "arrived at port 4143", "a connection of user 2102"),
		asking("--cleanup-only --dry-run", "# "+p.backend+", IPv4", "-A PROXY_INIT_OUTPUT -m owner --uid-owner 2102"),
	})
}

// redirectedIn returns what explain says of a client of port 80.
func redirectedIn(c *recorded.LinkerdCase) []string {
	option := "--included-ports=*"
	if slices.Contains(c.Args, "--ports-to-redirect") {
		option = "--included-ports=80"
	}
	return []string{"redirected to port 4143", "# " + option}
}
