package tests

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/capture/ambient"
	"github.com/meshtables/meshtables/iptables/capture/linkerd"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/tests/lab"
	"github.com/meshtables/meshtables/tests/recorded"
	"github.com/meshtables/meshtables/tests/soak"
)

// foreign are rules of others, in every table that meshtables uses: before and
// after where its jumps will be, and chains whose names only begin like ours.
const foreign = `*raw
:ISTIOLOGY - [0:0]
-A PREROUTING -p udp -m udp --dport 9 -j ISTIOLOGY
-A OUTPUT -p udp -m udp --dport 9 -j RETURN
COMMIT
*mangle
:ISTIOLOGY - [0:0]
-A PREROUTING -p tcp -m tcp --dport 9 -m comment --comment "not -j ISTIO_INBOUND" -j ISTIOLOGY
-A OUTPUT -p tcp -m tcp --dport 9 -j RETURN
-A ISTIOLOGY -m mark --mark 0x1 -j ACCEPT
COMMIT
*nat
:ISTIOLOGY - [0:0]
:PROXY_INITIAL - [0:0]
-A PREROUTING -p tcp -m tcp --dport 9 -j ISTIOLOGY
-A PREROUTING -p udp -m udp --dport 9 -j PROXY_INITIAL
-A OUTPUT -p udp -m udp --dport 9 -j REDIRECT --to-ports 10
-A ISTIOLOGY -p tcp -m tcp --dport 9 -j RETURN
COMMIT
`

// TestLifecycle applies the arguments of every recorded run, again, then those of
// another run, and removes everything, in a namespace where others have rules
// and routes.
func TestLifecycle(t *testing.T) {
	t.Parallel()
	cases := recorded.Cases(t)
	forEachBackend(t, func(t *testing.T, backend string) {
		for i, c := range cases {
			if !soak.Turn(i, slices.Index(backends(), backend), len(backends())) {
				continue
			}
			t.Run(c.Name, func(t *testing.T) {
				t.Parallel()
				next := cases[(i+1)%len(cases)]
				lifecycle(t, backend, &c, &next)
			})
		}
	})
}

func lifecycle(t *testing.T, backend string, first, second *recorded.Case) {
	p := newPod(t, backend)
	for _, f := range iptables.Families() {
		program(t, p, foreign, programOf(backend, f, "restore"))
	}
	program(t, p, "", "ip", "rule", "add", "fwmark", "0x42", "lookup", "42")
	program(t, p, "", "ip", "route", "add", "local", "default", "dev", "lo", "table", "42")
	before := observe(t, p)

	firstRules := applyCase(t, p, first, "applied")
	once := observe(t, p)
	wantPlanned(t, p, first, firstRules)
	generation := nftGeneration(t, p)

	applyCase(t, p, first, "unchanged")
	if diff := cmp.Diff(once, observe(t, p)); diff != "" {
		t.Errorf("after one run (-), after two (+):\n%s", diff)
	}
	if now := nftGeneration(t, p); now != generation {
		t.Errorf("the second run wrote: generation %d, then %d", generation, now)
	}

	result := "applied"
	if firstRules.text() == planCase(t, p, second).text() {
		result = "unchanged"
	}
	secondRules := applyCase(t, p, second, result)
	wantPlanned(t, p, second, secondRules)

	if out := meshtables(t, p, "--cleanup-only"); out != "removed\n" {
		t.Errorf("removal says %q", out)
	}
	if diff := cmp.Diff(before, observe(t, p)); diff != "" {
		t.Errorf("before (-), after removal (+):\n%s", diff)
	}
	if out := meshtables(t, p, "--cleanup-only"); out != "nothing to remove\n" {
		t.Errorf("second removal says %q", out)
	}
}

// wantPlanned fails unless the kernel holds what --dry-run has printed, or, in the
// native form, which it does not print, what verify asks for.
func wantPlanned(t *testing.T, p pod, c *recorded.Case, planned saved) {
	t.Helper()
	if p.backend == native {
		meshtables(t, p.forCase(c), append([]string{"verify", "--backend=" + native}, caseArgs(c)...)...)
	} else if diff := cmp.Diff(planned.text(), ownText(t, p)); diff != "" {
		t.Errorf("dry run (-), kernel (+):\n%s", diff)
	}
}

// native is the backend whose rules iptables does not list.
const native = "nftables"

// caseArgs are the arguments of a recorded run, for a lab, whose addresses are of
// both families.
func caseArgs(c *recorded.Case) []string {
	return append(c.ExplicitArgs(), "--ipv6="+map[bool]string{true: "on", false: "off"}[hasRules(c.IPv6)])
}

func hasRules(lines []string) bool {
	return slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "-A") })
}

func applyCase(t *testing.T, p pod, c *recorded.Case, result string) saved {
	t.Helper()
	planned := planCase(t, p, c)
	args := append([]string{"--backend=" + p.backend}, caseArgs(c)...)
	if out := meshtables(t, p.forCase(c), args...); !strings.HasPrefix(out, result) {
		t.Errorf("says %q, want %s", out, result)
	}
	return planned
}

// planCase returns what --dry-run prints.
func planCase(t *testing.T, p pod, c *recorded.Case) saved {
	t.Helper()
	out := meshtables(t, p.forCase(c), append([]string{"--dry-run"}, caseArgs(c)...)...)
	v4, v6, _ := strings.Cut(out, "# ip6tables-save (IPv6)\n")
	return parseSaved(t, v4, v6)
}

// forCase returns the pod with the environment and the name servers of a recorded
// run.
func (p pod) forCase(c *recorded.Case) pod {
	p.env = c.Environ()
	p.nameServers = []netip.Addr{}
	p.nameServers = append(p.nameServers, c.Host().NameServers...)
	return p
}

// saved is what iptables-save and ip6tables-save print.
type saved struct{ rules iptables.Ruleset }

func parseSaved(t *testing.T, v4, v6 string) saved {
	t.Helper()
	var s saved
	for f, text := range map[iptables.Family]string{iptables.IPv4: v4, iptables.IPv6: v6} {
		tables, err := iptables.ParseSave(f, strings.NewReader(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		s.rules.Tables = append(s.rules.Tables, tables...)
	}
	return s
}

// policies are those of pods.
func policies() capture.Policies {
	return capture.Policies{sidecar.Policy{}, ambient.Policy{}, linkerd.Policy{}}
}

// text returns what is ours, in canonical order.
func (s saved) text() string {
	own := policies().Ownership().Of(s.rules)
	return own.Save(iptables.IPv4) + "# IPv6\n" + own.Save(iptables.IPv6)
}

// ownText returns what is ours in the kernel, as the backend's programs see it.
func ownText(t *testing.T, p pod) string {
	t.Helper()
	if p.backend == native {
		return nativeText(t, p)
	}
	return parseSaved(t,
		program(t, p, "", programOf(p.backend, iptables.IPv4, "save")),
		program(t, p, "", programOf(p.backend, iptables.IPv6, "save"))).text()
}

// volatile is what differs from run to run. The kernel makes the local routes of IPv6 addresses,
// which are listed themselves, some time after these (addrconf_dad_work in
// net/ipv6/addrconf.c).
var volatile = regexp.MustCompile(`(?m)^#.*\n|\[\d+:\d+\]|(valid|preferred)_lft \w+|^(local|anycast) [0-9a-f:]+ dev \w+ table local proto kernel metric 0 pref medium\n| tentative\b`)

// observe returns all that meshtables could change, as other programs see it.
func observe(t *testing.T, p pod) string {
	t.Helper()
	var b strings.Builder
	for _, backend := range []string{"iptables-nft", "iptables-legacy"} {
		for _, f := range iptables.Families() {
			fmt.Fprintf(&b, "%s %s\n%s", backend, f, program(t, p, "", programOf(backend, f, "save")))
		}
	}
	b.WriteString(nativeText(t, p))
	b.WriteString(observeRouting(t, p))
	return volatile.ReplaceAllString(b.String(), "")
}

// comment is one of nft's, which tells the option that a rule came from first.
var comment = regexp.MustCompile(` comment "[^"]*"`)

// nativeText returns the tables and chains for both families that nft lists, in order,
// without counters and comments.
func nativeText(t *testing.T, p pod) string {
	t.Helper()
	text := comment.ReplaceAllString(program(t, p, "", "nft", "--stateless", "list", "ruleset", "inet"), "")
	tables := strings.Split(text, "\ntable ")
	for i, table := range tables {
		chains := strings.Split(strings.TrimPrefix(table, "table "), "\tchain ")
		for j := range chains {
			chains[j] = strings.TrimRight(chains[j], "}\n\t ")
		}
		slices.Sort(chains[min(1, len(chains)):])
		tables[i] = strings.Join(chains, "\n\tchain ")
	}
	slices.Sort(tables)
	return strings.Join(tables, "\n") + "\n"
}

// observeRouting returns rules, routes and addresses as ip shows them.
func observeRouting(t *testing.T, p pod) string {
	t.Helper()
	var b strings.Builder
	for _, args := range [][]string{
		{"rule"}, {"-6", "rule"}, {"route", "show", "table", "all"}, {"-6", "route", "show", "table", "all"}, {"addr"},
	} {
		fmt.Fprintf(&b, "ip %s\n%s", strings.Join(args, " "), program(t, p, "", "ip", args...))
	}
	return b.String()
}

// programOf returns a program of the backend, such as ip6tables-nft-save.
func programOf(backend string, f iptables.Family, what string) string {
	return commandOf(backend, f) + "-" + what
}

// commandOf returns the program of the backend that changes single rules, such as
// ip6tables-nft. Beside the native form iptables-nft is the one that writes foreign
// rules.
func commandOf(backend string, f iptables.Family) string {
	if backend == native {
		backend = "iptables-nft"
	}
	return f.Command() + strings.TrimPrefix(backend, "iptables")
}

// program runs a program in the pod and returns what it prints.
func program(t *testing.T, p pod, stdin, name string, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	err := p.Pod.Run(context.WithoutCancel(t.Context()), lab.Command{
		Path: name, Args: args, Stdin: strings.NewReader(stdin), Stdout: &stdout, Stderr: &stderr,
	})
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, &stderr)
	}
	return stdout.String()
}

// nftGeneration returns the number of the nf_tables ruleset, which every change
// raises (NFT_MSG_GETGEN in linux/netfilter/nf_tables.h).
func nftGeneration(t *testing.T, p pod) uint32 {
	t.Helper()
	const attributeID = 1 // NFTA_GEN_ID
	var id uint32
	err := p.Pod.Do(func() error {
		request := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETGEN, 0)
		request.AddData(&nl.Nfgenmsg{})
		messages, err := request.Execute(unix.NETLINK_NETFILTER, 0)
		if err != nil || len(messages) != 1 {
			return fmt.Errorf("%d messages: %w", len(messages), err)
		}
		attributes, err := nl.ParseRouteAttr(messages[0][nl.SizeofNfgenmsg:])
		for _, a := range attributes {
			if a.Attr.Type == attributeID {
				id = binary.BigEndian.Uint32(a.Value)
			}
		}
		return err
	})
	if err != nil || id == 0 {
		t.Fatalf("generation %d, %v", id, err)
	}
	return id
}
