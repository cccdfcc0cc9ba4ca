package tests

import (
	"slices"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/tests/lab"
	"github.com/meshtables/meshtables/tests/recorded"
)

// Every verb understands Linkerd's rules, without being told that they are, in each form, and
// also those that linkerd2-proxy-init has written.
func TestLinkerdVerbs(t *testing.T) {
	t.Parallel()
	all := recorded.LinkerdCases(t)
	c := &all[slices.IndexFunc(all, func(c recorded.LinkerdCase) bool { return c.Name == "chart-dual-stack" })]
	for _, writer := range append(overNetlink(), "proxy-init") {
		t.Run(writer, func(t *testing.T) {
			t.Parallel()
			var p pod
			if writer == "proxy-init" {
				p = newPodOfReference(t, "iptables-nft", c)
			} else {
				p = newPod(t, writer)
				wantSays(t, p, "applied", append([]string{"linkerd-init", "--backend=" + writer}, c.Args...)...)
			}
			wantAnswers(t, p, linkerdQuestions(c.Args))
			if _, out := run(t, p, "explain", "out", "203.0.113.10:80", "--live", "--by-proxy", "--uid=7"); !strings.Contains(out, "--by-proxy: must come without") {
				t.Errorf("says %s", out)
			}
		})
	}
}

func linkerdQuestions(args []string) []question {
	const (
		byProxy = "by user 2102, group 2102"
		ofProxy = "user 2102 is the proxy's (--proxy-uid=2102)"
		traced  = "matched the same rules, in the same order"
	)
	return []question{
		asking("show", "everything → PROXY_INIT_REDIRECT", "of user 2102 → return", "out via lo → return", "tcp → redirect to port 4143",
			"--excluded-ports=4190,4191,4567,4568", "--excluded-outbound-ports=4567,4568", "--outbound-port=4140"),
		asking("show -O dot", "PROXY_INIT_OUTPUT", "redirect to port 4140", "redirect to port 4143"),
		asking("show -O mermaid", "PROXY_INIT_OUTPUT", "redirect to port 4140", "redirect to port 4143"),
		asking("verify", "as wanted", "--excluded-ports=4190,4191,4567,4568 --excluded-outbound-ports=4567,4568"),
		{append([]string{"verify", "--mesh=linkerd"}, args...), []string{"as wanted"}},
		{append([]string{"verify"}, args...), []string{"as wanted"}},
		asking("explain --live", "linkerd, IPv4 and IPv6", "to port 4143", "to port 4140", "by user 2102", "the proxy's: --proxy-uid=2102", "--excluded-outbound-ports=4567,4568"),
		asking("explain out 203.0.113.10:80 --live", "redirected to port 4140"),
		asking("explain out 203.0.113.10:80 --live --by-proxy", "bypasses the proxy", byProxy, ofProxy),
		asking("explain out 203.0.113.10:80 --by-proxy --trace", "bypasses the proxy", byProxy, ofProxy, traced),
		asking("explain out [2001:db8:113::10]:80 --trace", "redirected to port 4140", traced),
		asking("explain out 203.0.113.10:4567 --trace", "bypasses the proxy", "port 4567 is excluded by --excluded-outbound-ports=4567", traced),
		asking("explain out 203.0.113.10:53 --proto=udp --trace", "bypasses the proxy", "the proxy takes only tcp", traced),
		asking("explain out 10.244.1.7:8080 --live", "bypasses the proxy", "connections from the pod to itself are not captured"),
		asking("explain in :8080 --trace", "redirected to port 4143", traced),
		asking("explain in [fd00:10:244::7]:4191 --live", "bypasses the proxy", "port 4191 is excluded by --excluded-ports=4191"),
		asking("explain out 203.0.113.10:80 --mesh=linkerd --by-proxy", "bypasses the proxy", byProxy),
		asking("explain out 203.0.113.10:80 --by-proxy", "bypasses the proxy", "by user 1337, group 1337"),
		asking("probe", "passed", "proxy's outbound IPv6: a connection of user 2102", "outbound IPv4: a connection of user 1000 to 192.0.2.1:80 arrived at port 4140", "inbound IPv6"),
		{append([]string{"probe"}, args...), []string{"passed: what these options ask for"}},
		asking("--cleanup-only --dry-run", "-A PROXY_INIT_OUTPUT -m owner --uid-owner 2102 -j RETURN", "-A PREROUTING -j PROXY_INIT_REDIRECT"),
	}
}

// What each backend writes sends every kind of connection where it has to go.
func TestLinkerdProbe(t *testing.T) {
	t.Parallel()
	const (
		leftAlone = "passed   proxy's outbound IPv6: a connection of user 2102 to"
		out, in   = "arrived at port 4140", "10.244.1.7:80 arrived at port 4143"
	)
	for i, test := range []question{
		asking("", leftAlone, out, in),
		asking("-r 80 -r 8000-8010 --inbound-ports-to-ignore=8005", leftAlone, out, in),
		asking("--included-ports=", leftAlone, out),
		asking("--proxy-gid=2103 --subnets-to-ignore=10.0.0.0/8,fd00::/8", leftAlone, out, in),
		asking("-p 1 -o 2 -u 7,8 -g 9", "a connection of user 7 to 192.0.2.1:80 was left alone", "arrived at port 2", "10.244.1.7:80 arrived at port 1"),
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			t.Parallel()
			forHalfOfBackends(t, i, func(t *testing.T, backend string) {
				p := newPod(t, backend)
				apply(t, p, append([]string{"--mesh=linkerd"}, test.args...)...)
				wantAnswers(t, p, []question{asking("probe", append([]string{"passed"}, test.want...)...)})
			})
		})
	}
}

// Without the rule of its user the proxy gets what it sends itself, and every verb that could say
// so does.
func TestLinkerdWithoutProxyRule(t *testing.T) {
	t.Parallel()
	for backend, command := range map[string]string{
		"iptables-nft": "iptables-nft -t nat -D PROXY_INIT_OUTPUT 1; ip6tables-nft -t nat -D PROXY_INIT_OUTPUT 1",
		native:         "nft delete rule inet meshtables PROXY_INIT_OUTPUT handle $(nft -a list chain inet meshtables PROXY_INIT_OUTPUT | sed -n 's/.*skuid 2102.*handle //p')",
	} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, backend)
			apply(t, p, "--mesh=linkerd")
			inShell(t, p, command)
			if says := fails(t, p, 3, "verify"); !strings.Contains(says, "# --proxy-uid=2102") || !strings.Contains(says, "meshtables --mesh=linkerd") {
				t.Errorf("verify says %s", says)
			}
			says := fails(t, p, 126, "probe")
			if strings.Count(says, "failed   proxy's outbound") != len(lab.Families()) || !strings.Contains(says, "the proxy must not get what it sends itself") {
				t.Errorf("probe says %s", says)
			}
			says = meshtables(t, p, "explain", "out", "203.0.113.10:80", "--live", "--by-proxy")
			if !strings.HasPrefix(says, "redirected to port 4140") || !strings.Contains(says, "by user 2102, group 2102") {
				t.Errorf("explain says %s", says)
			}
		})
	}
}
