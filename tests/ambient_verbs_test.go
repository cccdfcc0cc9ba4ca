package tests

import (
	"slices"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/tests/lab"
	"github.com/meshtables/meshtables/tests/recorded"
)

// Every verb understands the rules of ambient mode, without being told that they are, in
// each form, and also those that Istio's agent has written.
func TestAmbientVerbs(t *testing.T) {
	t.Parallel()
	for _, writer := range append(overNetlink(), "agent") {
		t.Run(writer, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, "iptables-nft")
			if writer == "agent" {
				writeAsAgent(t, p, "dns")
			} else {
				p.backend = writer
				apply(t, p, "--dataplane-mode=ambient", "--redirect-dns")
			}
			wantAnswers(t, p, ambientQuestions())
			if _, out := run(t, p, "explain", "out", "203.0.113.10:80", "--live", "--by-proxy", "--uid=7"); !strings.Contains(out, "--by-proxy: must come without") {
				t.Errorf("says %s", out)
			}
		})
	}
}

// question is a run of the program, and what its answer has.
type question struct{ args, want []string }

func asking(line string, want ...string) question { return question{strings.Fields(line), want} }

// wantAnswers asks all of them. No answer has anything in it that nobody can read.
func wantAnswers(t *testing.T, p pod, questions []question) {
	t.Helper()
	for _, q := range questions {
		status, out := run(t, p, q.args...)
		if status != 0 {
			t.Errorf("%q ends with status %d\n%s", q.args, status, out)
		}
		for _, want := range q.want {
			if !strings.Contains(out, want) {
				t.Errorf("%q has no %q:\n%s", q.args, want, out)
			}
		}
		if strings.Contains(out, "rev 2") || strings.Contains(out, "xt ") {
			t.Errorf("%q has raw bytes:\n%s", q.args, out)
		}
	}
}

func ambientQuestions() []question {
	const byProxy = "by user 0, group 0, with mark 0x539"
	return []question{
		asking("show", "marked 0x539/0xfff → mark the connection 0x111/0xfff", "of a connection marked 0x111/0xfff → restore the mark from the connection",
			"--proxy-mark=0x539/0xfff", "fwmark 0x111/0xfff lookup 100"),
		asking("show -O dot", "mark the connection 0x111/0xfff", "redirect to port 15053"),
		asking("show -O mermaid", "mark the connection 0x111/0xfff", "redirect to port 15053"),
		asking("verify", "as wanted"),
		asking("verify --dataplane-mode=ambient --redirect-dns --ipv6=on", "as wanted"),
		asking("explain --live", "ambient, IPv4 and IPv6", "to port 15006", "to port 15053", "marked 0x539/0xfff"),
		asking("explain out 203.0.113.10:80 --live", "redirected to port 15001"),
		asking("explain out 203.0.113.10:80 --live --by-proxy", "bypasses the proxy", byProxy, "mark 0x539 is the proxy's (--proxy-mark=0x539/0xfff)"),
		asking("explain out 203.0.113.10:80 --by-proxy --trace", "bypasses the proxy", byProxy, "matched the same rules, in the same order"),
		asking("explain out [2001:db8:113::10]:53 --proto=udp --by-proxy --trace", "bypasses the proxy", "conntrack zone 1", "matched the same rules, in the same order"),
		asking("explain out 203.0.113.10:53 --proto=udp --trace", "redirected to port 15053", "matched the same rules, in the same order"),
		asking("explain in :8080 --trace", "redirected to port 15006", "matched the same rules, in the same order"),
		asking("explain in :15008 --trace", "bypasses the proxy", "for tunnelled connections"),
		asking("explain out 203.0.113.10:80 --dataplane-mode=ambient --by-proxy", "bypasses the proxy", byProxy),
		asking("explain out 203.0.113.10:80 --by-proxy", "bypasses the proxy", "by user 1337, group 1337"),
		asking("probe", "passed", "proxy as client IPv4: a connection of the proxy (mark 0x539)", "proxy's outbound IPv6", "proxy's DNS IPv4", "inbound IPv6"),
		asking("probe --dataplane-mode=ambient --redirect-dns", "passed: what these options ask for"),
		asking("--cleanup-only --dry-run", "-A ISTIO_PRERT -m mark --mark 0x539/0xfff", "ip rule del priority 32764 fwmark 0x111/0xfff lookup 100"),
	}
}

// writeAsAgent writes what Istio's agent did in a recorded run.
func writeAsAgent(t *testing.T, p pod, name string) recorded.AmbientCase {
	t.Helper()
	all := recorded.AmbientPods(t)
	c := all[slices.IndexFunc(all, func(c recorded.AmbientCase) bool { return c.Name == name })]
	restoreRecorded(t, p, c.IPv4, c.IPv6)
	for _, family := range []string{"-4", "-6"} {
		program(t, p, "", "ip", family, "rule", "add", "priority", "32764", "fwmark", "0x111/0xfff", "lookup", "100")
		program(t, p, "", "ip", family, "route", "add", "local", "default", "dev", "lo", "table", "100")
	}
	return c
}

// What each backend writes sends every kind of connection where it has to go, and the probe
// stands in for the proxy with its mark.
func TestAmbientProbe(t *testing.T) {
	t.Parallel()
	for i, args := range []string{
		"", "--redirect-dns", "--included-ports=80,443 --included-cidrs=203.0.113.0/24,2001:db8:113::/48", "--included-ports=", "--excluded-interfaces=net1",
		"--proxy-mark=7/0xff --connection-mark=8/0xff --routing-table=7", "-p 1 -z 2 --tunnel-port=3",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			forHalfOfBackends(t, i, func(t *testing.T, backend string) {
				p := newPod(t, backend)
				apply(t, p, append(strings.Fields(args), "--dataplane-mode=ambient")...)
				out := meshtables(t, p, "probe")
				// A gateway takes connections itself.
				asClient := args != "--included-ports="
				if !strings.HasPrefix(out, "passed") || strings.Contains(out, "proxy as client") != asClient {
					t.Errorf("says %s", out)
				}
			})
		})
	}
}

// Without its routing the answers of the application do not get to the proxy, and every verb
// that could say so does.
func TestAmbientWithoutRouting(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, backend string) {
		p := newPod(t, backend)
		apply(t, p, "--dataplane-mode=ambient")
		for _, family := range []string{"-4", "-6"} {
			program(t, p, "", "ip", family, "rule", "del", "priority", "32764")
		}
		if status, out := run(t, p, "verify"); status != 3 || !strings.Contains(out, "ip rule add priority 32764 fwmark 0x111/0xfff lookup 100 protocol 109") {
			t.Errorf("verify: %d, %s", status, out)
		}
		status, out := run(t, p, "probe")
		if status != 126 || strings.Count(out, "failed   proxy as client") != len(lab.Families()) {
			t.Errorf("probe: %d, %s", status, out)
		}
	})
}
