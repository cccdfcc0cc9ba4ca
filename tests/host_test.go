package tests

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/tests/lab"
	"github.com/meshtables/meshtables/tests/recorded"
)

// onNode runs the program on the node of a pod, which has to end with a status, and returns
// what it says.
func onNode(t *testing.T, p pod, status int, args ...string) string {
	t.Helper()
	got, says := runIn(t, p.Peer, p.command(args...))
	if got != status {
		t.Fatalf("on the node: meshtables %q: status %d, want %d\n%s", args, got, status, says)
	}
	return says
}

// podAddresses are those of the pod, as options of host take them.
func podAddresses() string { return both(lab.PodAddr) }

// nodeRules returns what iptables-save prints of the rules on the node.
func nodeRules(t *testing.T, p pod) string {
	t.Helper()
	node := p
	node.Lab = &lab.Lab{Pod: p.Peer}
	return ownText(t, node)
}

// inNodesSet returns the addresses of the pods in the node's sets, with blanks between them.
func inNodesSet(t *testing.T, p pod) string {
	t.Helper()
	list := lab.Command{Path: "ipset", Args: []string{"save"}}
	if p.backend == native {
		list = lab.Command{Path: "nft", Args: []string{"list", "sets", "inet"}}
	}
	status, out := runIn(t, p.Peer, list)
	if status != 0 {
		t.Fatal(out)
	}
	var all []string
	for word := range strings.FieldsSeq(out) {
		if a, err := netip.ParseAddr(strings.TrimSuffix(word, ",")); err == nil {
			all = append(all, a.String())
		}
	}
	return strings.Join(all, " ")
}

// TestHostLifecycle keeps the node's side as every recorded run has it, changes which pods it
// is about, and removes it.
func TestHostLifecycle(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, backend string) {
		for _, c := range recorded.AmbientHosts(t) {
			t.Run(c.Name, func(t *testing.T) {
				t.Parallel()
				p := newPod(t, backend)
				host := append([]string{"host", "--backend=" + backend}, c.Args()...)
				says := func(result string, args ...string) {
					t.Helper()
					if out := onNode(t, p, 0, append(host, args...)...); !strings.HasPrefix(out, result) {
						t.Errorf("%q says %q, want %s", args, out, result)
					}
				}
				says("applied", "--pods=10.244.1.7,10.244.1.8")
				if backend != native {
					if diff := cmp.Diff(saved{c.Ruleset(t)}.text(), nodeRules(t, p)); diff != "" {
						t.Errorf("recorded (-), kernel (+):\n%s", diff)
					}
				}
				says("unchanged", "--pods=10.244.1.8,10.244.1.7")
				says("unchanged")
				says("applied", "--add-pods=10.244.1.9,10.244.1.7", "--remove-pods=10.244.1.8")
				if got := inNodesSet(t, p); !strings.Contains(got, "10.244.1.9") || !strings.Contains(got, "10.244.1.7") || strings.Contains(got, "10.244.1.8") {
					t.Errorf("the set has %s", got)
				}
				onNode(t, p, 0, "show", "--backend="+backend)
				// Rules alone do not say that IPv6 was left out on purpose.
				if slices.Contains(overNetlink(), backend) || c.Options.IPv6 {
					onNode(t, p, 0, "verify", "--backend="+backend)
				}
				if out := onNode(t, p, 1, "--dataplane-mode=ambient", "--backend="+backend, "--host-network"); !strings.Contains(out, "are those of istio host") {
					t.Errorf("says %s", out)
				}
				says("applied", "--pods=")
				if got := inNodesSet(t, p); got != "" {
					t.Errorf("the set has %s", got)
				}
				if out := onNode(t, p, 0, "host", "--cleanup-only"); out != "removed\n" {
					t.Errorf("removal says %q", out)
				}
				if out := onNode(t, p, 0, "host", "--cleanup-only"); out != "nothing to remove\n" {
					t.Errorf("again it says %q", out)
				}
				onNode(t, p, 0, "host", "--backend="+backend, "--pods=10.244.1.7")
				if out := onNode(t, p, 0, "--cleanup-only"); out != "removed\n" || inNodesSet(t, p) != "" {
					t.Errorf("without the verb it says %q and leaves %s", out, inNodesSet(t, p))
				}
			})
		}
	})
}

// The rules move with the set, whatever form they have. They stay where they are if only the
// pods change, and explain says which of them a connection of the node is to.
func TestHostMoves(t *testing.T) {
	t.Parallel()
	p := newPod(t, "")
	onNode(t, p, 0, "host", "--pods="+podAddresses(), "--backend=iptables-nft")
	for _, backend := range append(backends(), backends()...) {
		p.backend = backend
		onNode(t, p, 0, "host", "--backend="+backend)
		if got := inNodesSet(t, p); !strings.Contains(got, lab.PodAddr.V4.String()) || !strings.Contains(got, lab.PodAddr.V6.String()) {
			t.Errorf("%s: the set has %q", backend, got)
		}
		if says := onNode(t, p, 0, "host", "--add-pods="+lab.Outside.V4.String()); strings.Contains(says, "moved") {
			t.Errorf("%s: a pod more: %s", backend, says)
		}
		for to, want := range map[string]string{
			lab.PodAddr.V4.String(): "the pod sees it come from 169.254.7.127", lab.Outside.V4.String(): "the pod sees it come from 169.254.7.127",
			lab.OtherOutside.V4.String(): "capture nothing",
		} {
			if says := onNode(t, p, 0, "explain", "out", to+":80", "--live"); !strings.Contains(says, want) {
				t.Errorf("%s: to %s: %s", backend, to, says)
			}
		}
		onNode(t, p, 0, "host", "--remove-pods="+lab.Outside.V4.String())
	}
}

// A set that others made, as ipset does, is used, and stays when ours goes.
func TestHostUsesSetOfOthers(t *testing.T) {
	t.Parallel()
	for _, backend := range []string{"iptables-nft", "iptables-legacy", "iptables"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, backend)
			ipset := func(stdin string, args ...string) string {
				t.Helper()
				status, out := runIn(t, p.Peer, lab.Command{Path: "ipset", Args: args, Stdin: strings.NewReader(stdin)})
				if status != 0 {
					t.Fatalf("ipset %q: %s", args, out)
				}
				return out
			}
			ipset("create istio-inpod-probes-v4 hash:ip comment\nadd istio-inpod-probes-v4 10.0.0.1 comment theirs\n"+
				"create istio-inpod-probes-v6 hash:ip family inet6 counters bucketsize 4\n", "restore")
			host := []string{"host", "--backend=" + backend, "--ipv6=on"}
			for _, test := range []struct{ says, args string }{
				{"applied: 4 rules", "--add-pods=10.0.0.2,fd00::2"},
				{"unchanged: 4 rules", "--pods=10.0.0.1,10.0.0.2,fd00::2"},
			} {
				if says := onNode(t, p, 0, append(host, test.args)...); !strings.HasPrefix(says, test.says) {
					t.Errorf("%s: says %s", test.args, says)
				}
			}
			if says := onNode(t, p, 0, "host", "--cleanup-only"); says != "removed\n" {
				t.Errorf("removal says %s", says)
			}
			left := ipset("", "save")
			for _, line := range []string{"add istio-inpod-probes-v4 10.0.0.1 comment \"theirs\"", "add istio-inpod-probes-v4 10.0.0.2", "add istio-inpod-probes-v6 fd00::2"} {
				if !strings.Contains(left, line) {
					t.Errorf("after removal there is no %q:\n%s", line, left)
				}
			}
		})
	}
}

// What is missing is told, with the command that mends it: rules, sets, and the pods in them. The
// pods that nobody names are left to whoever keeps the set.
func TestHostVerify(t *testing.T) {
	t.Parallel()
	for _, backend := range []string{"iptables-nft", native, "iptables-legacy"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, backend)
			options := []string{"--backend=" + backend, "--host-probe-address=169.254.9.9", "--ipv6=off"}
			verify := func(status int, want string, args ...string) {
				t.Helper()
				says := onNode(t, p, status, slices.Concat([]string{"host", "--verify"}, options, args)...)
				if !strings.Contains(says, want) {
					t.Errorf("%q: says %s, want %s", args, says, want)
				}
				_, mend, ok := strings.Cut(says, "hint: apply again with: meshtables ")
				if (status == 3) != ok {
					t.Errorf("%q: says %s", args, says)
				}
				if ok && args != nil {
					onNode(t, p, 0, strings.Fields(mend)...)
					onNode(t, p, 0, slices.Concat([]string{"host", "--verify"}, options, args)...)
				}
			}
			verify(3, "IPv4 set istio-inpod-probes-v4 is missing")
			verify(3, "IPv4 set istio-inpod-probes-v4 is missing\n  + 10.0.0.1\n", "--pods=10.0.0.1")
			verify(0, "as wanted")
			verify(3, "IPv4 set istio-inpod-probes-v4\n  + 10.0.0.2\n", "--add-pods=10.0.0.2")
			verify(3, "IPv4 set istio-inpod-probes-v4\n  - 10.0.0.1\n", "--remove-pods=10.0.0.1")
			verify(3, "IPv4 set istio-inpod-probes-v4\n  + 10.0.0.3\n  - 10.0.0.2\n", "--pods=10.0.0.3")
			verify(0, "as wanted", "--pods=10.0.0.3")
			onNode(t, p, 0, "host", "--backend="+backend, "--host-probe-address=169.254.8.8", "--ipv6=off")
			verify(3, "  - 1: ", "--pods=10.0.0.3")
			if slices.Contains(overNetlink(), backend) {
				if says := onNode(t, p, 0, "host", "--verify"); !strings.Contains(says, "compared with what was asked for: --host-probe-address=169.254.9.9") {
					t.Errorf("without options it says %s", says)
				}
			}
			onNode(t, p, 2, "host", "--verify", "--dry-run")
		})
	}
}

// What others do to probes is told, with the command that takes it away, after which it is told no
// more. What they do to other packets is not.
func TestHostForeign(t *testing.T) {
	t.Parallel()
	for _, backend := range overNetlink() {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, backend)
			onNode(t, p, 0, "host", "--backend="+backend, "--pods="+podAddresses(), "--ipv6=off")
			sh := func(script string) {
				t.Helper()
				if status, out := runIn(t, p.Peer, lab.Command{Path: "sh", Args: []string{"-ec", script}}); status != 0 {
					t.Fatalf("%s: %s", script, out)
				}
			}
			// The priorities are that of source nat and the one before.
			sh("iptables-nft -t nat -I POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE; iptables-nft -I OUTPUT -d 203.0.113.1 -j DROP")
			onNode(t, p, 0, "verify")
			for rule, want := range map[string]string{
				"type nat hook postrouting priority 99; masquerade":                                     "kept from its source address by foreign rule 1",
				"type nat hook postrouting priority 99; snat to 10.244.1.1":                             "kept from its source address by foreign rule 1",
				"type filter hook output priority 0; tcp dport 8080 drop":                               "dropped by foreign rule 1",
				"type filter hook postrouting priority 0; ip daddr 10.244.1.0/24 drop":                  "dropped by foreign rule 1",
				"type nat hook output priority -100; tcp dport 8080 redirect to :15001":                 "sent elsewhere by foreign rule 1",
				"type filter hook output priority -300; tcp dport 8080 notrack":                         "kept from its source address by foreign rule 1",
				"type nat hook postrouting priority 99; tcp sport 1-65535 ct mark 7 snat to 10.244.1.1": "",
			} {
				at, does, _ := strings.Cut(rule, "; ")
				sh("nft 'table ip others { chain c { " + at + "; " + does + "; }; }'")
				status := 3
				if want == "" {
					status = 0
				}
				if says := onNode(t, p, status, "verify"); !strings.Contains(says, want) {
					t.Errorf("%s: verify says %s", rule, says)
				}
				says := onNode(t, p, 0, "explain", "out", lab.PodAddr.V4.String()+":8080", "--live")
				if !strings.Contains(says, want) || strings.Contains(says, "counts as a health probe") != (want == "") {
					t.Errorf("%s: explain says %s", rule, says)
				}
				sh("nft delete table ip others")
			}
			onNode(t, p, 0, "verify")
		})
	}
}

// A set of thousands of pods changes in a moment.
func TestHostOfManyPods(t *testing.T) {
	t.Parallel()
	for _, backend := range overNetlink() {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, backend)
			var many []string
			for i := range 5000 {
				many = append(many, fmt.Sprintf("10.%d.%d.%d", 1+i/60000, i/250%250, 1+i%250))
			}
			for _, step := range []struct{ what, args string }{
				{"5000 pods", "--pods=" + strings.Join(many, ",")},
				{"the same", "--pods=" + strings.Join(many, ",")},
				{"one more", "--add-pods=10.250.0.1"},
				{"one less", "--remove-pods=10.250.0.1"},
				{"others", "--pods=" + strings.Join(many[2500:], ",")},
			} {
				start := time.Now()
				onNode(t, p, 0, "host", "--backend="+backend, step.args)
				t.Logf("%s: %v", step.what, time.Since(start))
			}
			if got := len(strings.Fields(inNodesSet(t, p))); got != 2500 {
				t.Errorf("the set has %d", got)
			}
			onNode(t, p, 0, "host", "--cleanup-only")
		})
	}
}

// What the options of host must be is told, all at once.
func TestHostOptions(t *testing.T) {
	t.Parallel()
	p := newPod(t, "iptables-nft")
	for args, want := range map[string]string{
		"--pods=10.0.0.1 --add-pods=10.0.0.2":        "--pods: must come without --add-pods and --remove-pods",
		"--add-pods=10.0.0.1 --remove-pods=10.0.0.1": "must not both have 10.0.0.1",
		"--pods=10.0.0.0/24":                         "must be addresses such as 10.244.1.7",
		"--pods=::ffff:10.0.0.1":                     "is IPv4 written as IPv6",
		"--host-probe-address=banana":                "must be an address, or one of each family",
		"--excluded-ports=80":                        "unknown flag",
	} {
		if out := onNode(t, p, 2, append([]string{"host"}, strings.Fields(args)...)...); !strings.Contains(out, want) {
			t.Errorf("%s: says %s", args, out)
		}
	}
	if out := onNode(t, p, 0, "host", "--dry-run", "--ipv6=off"); !strings.Contains(out, "--match-set istio-inpod-probes-v4 dst -j SNAT --to-source 169.254.7.127") {
		t.Errorf("says %s", out)
	}
}
