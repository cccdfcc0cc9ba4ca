package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/tests/lab"
)

// option is one that istio-iptables does not have, and what it does.
type option struct {
	name string
	// args are the option as a flag, config is the same in a file.
	args, config string
	// with are other options that it is given with.
	with []string
	// shown is what show says of one of its rules, rule that rule, as verify has
	// it and iptables-save prints it, of IPv4.
	shown, rule string
	// because is what explain says of the exempt connection, with each family.
	because map[lab.Family]string
	// exempt is a connection that goes past the proxy because of it, neighbour
	// one that does not.
	exempt, neighbour check
}

// options returns those that this is about.
func options() []option {
	const other = "198.51.100.0/24,2001:db8:51::/48"
	perFamily := func(format string) map[lab.Family]string {
		return map[lab.Family]string{
			lab.IPv4: fmt.Sprintf(format, "198.51.100.0/24"), lab.IPv6: fmt.Sprintf(format, "2001:db8:51::/48"),
		}
	}
	both := func(text string) map[lab.Family]string { return map[lab.Family]string{lab.IPv4: text, lab.IPv6: text} }
	return []option{{
		name: "excluded-source-cidrs", args: "--excluded-source-cidrs=" + other, config: "excluded-source-cidrs: [198.51.100.0/24, '2001:db8:51::/48']",
		shown:     "tcp, from 198.51.100.0/24 or 2001:db8:51::/48 → return # --excluded-source-cidrs=198.51.100.0/24 or 2001:db8:51::/48",
		rule:      "-s 198.51.100.0/24 -p tcp -j RETURN",
		because:   perFamily("is excluded by --excluded-source-cidrs=%s"),
		exempt:    check{from: peer().at(lab.OtherOutside), to: to(lab.PodAddr, 8080), want: pods},
		neighbour: check{from: peer().at(lab.Outside), to: to(lab.PodAddr, 8080), want: proxyIn},
	}, {
		name: "excluded-uids", args: "--excluded-uids=6000", config: "excluded-uids: 6000",
		shown:     "of user 6000 → return # --excluded-uids=6000",
		rule:      "-m owner --uid-owner 6000 -j RETURN",
		because:   both("traffic of user 6000 is excluded by --excluded-uids=6000"),
		exempt:    check{from: user(6000, 5000), to: to(lab.Outside, 80), want: peers},
		neighbour: check{from: user(6001, 5000), to: to(lab.Outside, 80), want: proxyOut},
	}, {
		name: "excluded-uids range", args: "--excluded-uids=6010-6019", config: "excluded-uids: [6010-6019]",
		shown:     "of user 6010 to 6019 → return # --excluded-uids=6010-6019",
		rule:      "-m owner --uid-owner 6010-6019 -j RETURN",
		because:   both("traffic of user 6019 is excluded by --excluded-uids=6010-6019"),
		exempt:    check{from: user(6019, 5000), to: to(lab.Outside, 80), want: peers},
		neighbour: check{from: user(6020, 5000), to: to(lab.Outside, 80), want: proxyOut},
	}, {
		name: "excluded-uids port", args: "--excluded-uids=udp:53:1000", config: "excluded-uids: ['udp:53:1000']",
		with:      []string{"--redirect-dns"},
		shown:     "udp to port 53, of user 1000 → return # --excluded-uids=udp:53:1000",
		rule:      "-p udp -m udp --dport 53 -m owner --uid-owner 1000 -j RETURN",
		because:   both("traffic of user 1000 is excluded by --excluded-uids=udp:53:1000"),
		exempt:    check{from: user(1000, 5000), to: to(lab.Resolver, 53), udp: true, want: peers},
		neighbour: check{from: user(1001, 5000), to: to(lab.Resolver, 53), udp: true, want: proxyDNS},
	}, {
		// Its rules are those of other options, and so is what becomes of
		// connections.
		name: "comments", args: "--comments", config: "comments: true",
		with:      []string{"--excluded-cidrs=" + other},
		shown:     "to 198.51.100.0/24 or 2001:db8:51::/48 → return # --excluded-cidrs=198.51.100.0/24 or 2001:db8:51::/48",
		rule:      `-d 198.51.100.0/24 -m comment --comment "--excluded-cidrs=198.51.100.0/24" -j RETURN`,
		because:   perFamily("is excluded by --excluded-cidrs=%s"),
		exempt:    check{from: app(), to: to(lab.OtherOutside, 80), want: peers},
		neighbour: check{from: app(), to: to(lab.Outside, 80), want: proxyOut},
	}}
}

// given returns the option's arguments, or those of a file that has it.
func (o option) given(t *testing.T, byFile bool) []string {
	t.Helper()
	how := o.args
	if byFile {
		how = "--config=" + writeFile(t, "config.yaml", o.config+"\n")
	}
	return append([]string{how}, o.with...)
}

// TestOptionsDryRun compares what --dry-run prints for each option with a golden.
func TestOptionsDryRun(t *testing.T) {
	t.Parallel()
	p := newPod(t, "iptables-nft")
	for _, o := range options() {
		golden := filepath.Join("testdata/options", strings.ReplaceAll(o.name, " ", "-")+".txt")
		printed := meshtables(t, p, append([]string{"--dry-run"}, o.given(t, false)...)...)
		if *update {
			if err := os.WriteFile(golden, []byte(printed), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), printed); diff != "" {
			t.Errorf("%s: want (-), got (+):\n%s", golden, diff)
		}
		if diff := cmp.Diff(printed, meshtables(t, p, append([]string{"--dry-run"}, o.given(t, true)...)...)); diff != "" {
			t.Errorf("%s: by flag (-), by file (+):\n%s", o.name, diff)
		}
	}
}

// TestOptions gives each option in each way, on every backend: what it is to do
// happens, and show, explain and verify tell of it.
func TestOptions(t *testing.T) {
	t.Parallel()
	for _, o := range options() {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			forEachBackend(t, func(t *testing.T, backend string) { o.test(t, newPod(t, backend)) })
		})
	}
}

func (o option) test(t *testing.T, p pod) {
	t.Helper()
	s := scenario{checks: []check{o.exempt, o.neighbour}}
	s.checks[0].name, s.checks[1].name = "exempt", "neighbour"
	serveProxy(t, p, false)
	s.serve(t, p)
	s.checkAll(t, p, "before", false)
	for _, w := range ways(p.Pod.File(), processIn(t, p.Pod)) {
		args := append(o.given(t, w.byFile), "--backend="+p.backend)
		if out := w.want(t, p, 0, args...); !strings.HasPrefix(out, "applied: ") {
			t.Errorf("%s: %q says %q", w.name, args, out)
		}
		s.checkAll(t, p, w.name, true)
		o.wantShown(t, p, w)
		o.wantExplained(t, p, w)
		o.wantVerified(t, p, w, args)
		w.want(t, p, 0, "--cleanup-only")
	}
	s.checkAll(t, p, "cleaned up", false)
}

// way is how an option gets to the program, and where this runs.
type way struct {
	name string
	// byFile is by --config.
	byFile bool
	// node are the options of a run from outside the pod; none for one in it.
	node []string
}

func ways(file, process string) []way {
	byFile, byProcess := "--network-namespace="+file, "--network-namespace="+process
	return []way{
		{name: "in the pod"},
		{name: "in the pod, --config", byFile: true},
		{name: "from the node, by a file", node: []string{byFile}},
		{name: "from the node, by a file, --cni-mode, --config", node: []string{byFile, "--cni-mode"}, byFile: true},
		{name: "from the node, by a process, --config", node: []string{byProcess}, byFile: true},
		{name: "from the node, by a process, --cni-mode", node: []string{byProcess, "--cni-mode"}},
	}
}

// want runs the program, which must end with the exit status, and returns all that it
// prints.
func (w way) want(t *testing.T, p pod, status int, args ...string) string {
	t.Helper()
	from := p.Pod
	if w.node != nil {
		from = p.Peer
	}
	got, out := runIn(t, from, p.command(slices.Concat(args, w.node)...))
	if got != status {
		t.Errorf("%s: %q: exit status %d, want %d\n%s", w.name, args, got, status, out)
	}
	return out
}

// spaces are those that align the columns of show.
var spaces = regexp.MustCompile(` +`)

// wantShown fails the test unless show has the option's rule, with its value.
func (o option) wantShown(t *testing.T, p pod, w way) {
	t.Helper()
	out := spaces.ReplaceAllString(w.want(t, p, 0, "show"), " ")
	if !strings.Contains(out, "├─ "+o.shown+"\n") {
		t.Errorf("%s: show does not say %q:\n%s", w.name, o.shown, out)
	}
}

// wantExplained fails the test unless explain says what becomes of the connections,
// and why.
func (o option) wantExplained(t *testing.T, p pod, w way) {
	t.Helper()
	explain := func(c check, f lab.Family) string {
		return w.want(t, p, 0, append(append([]string{"explain"}, c.question(p, f)...), "--live")...)
	}
	port := map[string]int{proxyIn: inboundPort, proxyOut: outboundPort, proxyDNS: dnsPort}[o.neighbour.want]
	for _, f := range lab.Families() {
		out := explain(o.exempt, f)
		if !strings.HasPrefix(out, "bypasses the proxy\n") || !strings.Contains(out, o.because[f]+"\n") {
			t.Errorf("%s: %s: explain does not say %q of the exempt connection:\n%s", w.name, f, o.because[f], out)
		}
		captured := fmt.Sprintf("redirected to port %d\n", port)
		if out := explain(o.neighbour, f); !strings.HasPrefix(out, captured) {
			t.Errorf("%s: %s: explain does not say %q of the neighbour:\n%s", w.name, f, captured, out)
		}
	}
}

// question returns the words to ask explain about the connection.
func (c check) question(p pod, f lab.Family) []string {
	return attempt{
		in: c.from.from(p) == p.Peer, to: c.to.addr.Port(f, c.to.port),
		source: c.from.source.In(f), as: c.from.as, udp: c.udp,
	}.args()
}

// wantVerified fails the test unless verify finds what is installed as wanted, and,
// where the option is not given, tells which rule is not.
func (o option) wantVerified(t *testing.T, p pod, w way, args []string) {
	t.Helper()
	w.want(t, p, 0, append([]string{"verify"}, args...)...)
	// An option that has its default keeps verify from asking what was asked for.
	without := append([]string{"verify", "--backend=" + p.backend, "--outbound-port=15001"}, o.with...)
	if o.name == "comments" && p.backend == native {
		// Its rules have comments whatever the options.
		w.want(t, p, 0, without...)
		return
	}
	unexpected := regexp.MustCompile(`(?m)^  - \d+: ` + regexp.QuoteMeta(o.rule) + `( |$)`)
	if out := w.want(t, p, 3, without...); !unexpected.MatchString(out) {
		t.Errorf("%s: verify without the option does not tell of %q:\n%s", w.name, o.rule, out)
	}
}
