package tests

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/tests/lab"
)

// commentArgs are options whose rules between them are of every kind.
func commentArgs() map[string][]string {
	return map[string][]string{
		"default": nil,
		"REDIRECT": {
			"--redirect-dns", "--excluded-interfaces=net1", "--virtual-interfaces=tap0", "--included-groups=5,6", "--excluded-uids=udp:53:7",
			"--included-ports=80,8000-8010", "--included-cidrs=10.0.0.0/8,2001:db8::/32", "--excluded-cidrs=10.1.0.0/16",
		},
		"TPROXY":      {"--mode=TPROXY", "--redirect-dns", "--capture-all-dns", "--drop-invalid", "--excluded-source-cidrs=192.0.2.0/24"},
		"long list":   {"--included-ports=" + oddNumbers(100)},
		"most groups": {"--included-groups=" + oddNumbers(sidecar.MaxIncludedGroups)},
		"neighbours": {
			"--included-groups=" + numbers(sidecar.MaxIncludedGroups, 1), "--proxy-uid=" + numbers(40, 1), "--proxy-gid=1337",
			"--included-cidrs=10.1.1.0/24,10.1.2.0/24,10.1.3.0/24,10.1.4.0/24,10.1.5.0/24,10.1.6.0/24,10.1.7.0/24,10.1.8.0/24,10.1.9.0/24",
		},
		"every client": {"--excluded-source-cidrs=10.0.0.0/8,0.0.0.0/0,::/0"},
		"everywhere":   {"--excluded-cidrs=0.0.0.0/0,2001:db8::/32,::/0", "--included-cidrs=0.0.0.0/0,10.0.0.0/8,::/0"},
		"twice": {
			"--proxy-uid=1337,1337", "--proxy-gid=1337,1337", "--excluded-uids=1000,1000", "--excluded-outbound-ports=80,80",
			"--virtual-interfaces=eth1,eth1", "--excluded-interfaces=net1,net1", "--excluded-cidrs=10.0.0.1/8,10.0.0.0/8",
		},
	}
}

// oddNumbers returns a list of n ports or ids of which no two are a range.
func oddNumbers(n int) string { return numbers(n, 2) }

// numbers returns a list of n ports or ids, each so much more than the one before.
func numbers(n, step int) string {
	words := make([]string, n)
	for i := range words {
		words[i] = strconv.Itoa(10001 + step*i)
	}
	return strings.Join(words, ",")
}

// TestCommentsLifecycle turns comments on and off where rules are installed. That
// is a change as any other. In the native form, whose comments are always there, only the
// record of the options changes.
func TestCommentsLifecycle(t *testing.T) {
	t.Parallel()
	for i, name := range slices.Sorted(maps.Keys(commentArgs())) {
		args := commentArgs()[name]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			forHalfOfBackends(t, i, func(t *testing.T, backend string) {
				p := newPod(t, backend)
				for _, f := range iptables.Families() {
					program(t, p, foreign, programOf(backend, f, "restore"))
				}
				before := observe(t, p)
				commented, changes := append([]string{"--comments"}, args...), "applied"
				if backend == native {
					changes = "unchanged"
				}
				wantResult(t, p, "applied", args)
				plain := observe(t, p)
				wantResult(t, p, changes, commented)
				if backend != native {
					wantEveryRuleCommented(t, p, commented)
				}
				generation := nftGeneration(t, p)
				wantResult(t, p, "unchanged", commented)
				if now := nftGeneration(t, p); now != generation {
					t.Errorf("the second run wrote: generation %d, then %d", generation, now)
				}
				meshtables(t, p, append([]string{"verify", "--backend=" + backend}, commented...)...)

				wantResult(t, p, changes, args)
				if diff := cmp.Diff(plain, observe(t, p)); diff != "" {
					t.Errorf("before comments (-), after them (+):\n%s", diff)
				}
				wantResult(t, p, changes, commented)
				cleanup(t, p)
				if diff := cmp.Diff(before, observe(t, p)); diff != "" {
					t.Errorf("before (-), after removal (+):\n%s", diff)
				}
			})
		})
	}
}

func wantResult(t *testing.T, p pod, result string, args []string) {
	t.Helper()
	if out := meshtables(t, p, append([]string{"--backend=" + p.backend}, args...)...); !strings.HasPrefix(out, result) {
		t.Errorf("%q says %q, want %s", args, out, result)
	}
}

// wantEveryRuleCommented compares, to the letter, what --dry-run prints with what
// the programs do.
func wantEveryRuleCommented(t *testing.T, p pod, args []string) {
	t.Helper()
	v4, v6, _ := strings.Cut(meshtables(t, p, append([]string{"--dry-run"}, args...)...), "# ip6tables-save (IPv6)\n")
	kernel := ownText(t, p)
	if diff := cmp.Diff(parseSaved(t, v4, v6).text(), kernel); diff != "" {
		t.Errorf("dry run (-), kernel (+):\n%s", diff)
	}
	rules := 0
	for line := range strings.Lines(kernel) {
		if !strings.HasPrefix(line, "-A ") {
			continue
		}
		rules++
		if strings.Count(line, ` --comment `) != 1 {
			t.Errorf("not one comment: %s", line)
		}
	}
	if rules == 0 {
		t.Error("there are no rules")
	}
}

// TestCommentsOfDryRun compares all that --dry-run prints with all that
// iptables-save prints of what every backend that it can show has written into an
// empty namespace.
func TestCommentsOfDryRun(t *testing.T) {
	t.Parallel()
	for name, args := range commentArgs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"--comments"}, args...)
			for _, backend := range []string{"iptables-nft", "iptables"} {
				p := newPod(t, backend)
				apply(t, p, args...)
				printed := withoutComments(meshtables(t, p, append([]string{"--dry-run"}, args...)...))
				if diff := cmp.Diff(save(t, p), printed); diff != "" {
					t.Errorf("%s: iptables-save (-), dry run (+):\n%s", backend, diff)
				}
			}
		})
	}
}

// TestCommentsAreVerified changes a comment by hand: verify finds it, and another
// run puts it right.
func TestCommentsAreVerified(t *testing.T) {
	t.Parallel()
	for _, backend := range backends() {
		if backend == native {
			continue // its comments are no part of the rules
		}
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, backend)
			apply(t, p, "--comments", "--ipv6=off")
			verify := []string{"verify", "--backend=" + backend, "--comments", "--ipv6=off"}
			rule := []string{"-p", "tcp", "--dport", "15008", "-m", "comment", "--comment", "by hand", "-j", "RETURN"}
			program(t, p, "", strings.TrimSuffix(programOf(backend, iptables.IPv4, ""), "-"), append([]string{"-t", "nat", "-R", "ISTIO_INBOUND", "1"}, rule...)...)

			status, out := run(t, p, verify...)
			want := "different in comments only (" + backend + ")\n- installed, + wanted\nIPv4 nat ISTIO_INBOUND\n" +
				"  - 1: -p tcp -m tcp --dport 15008 -m comment --comment \"by hand\" -j RETURN\n" +
				"  + 1: -p tcp -m tcp --dport 15008 -m comment --comment \"--tunnel-port=15008\" -j RETURN  # --tunnel-port=15008\n" +
				"hint: apply again with: meshtables --proxy-uid=1337 --ipv6=off --comments=true --backend=" + backend + "\n"
			if diff := cmp.Diff(want, out); status != 3 || diff != "" {
				t.Errorf("exit status %d, want (-), got (+):\n%s", status, diff)
			}
			wantResult(t, p, "applied", []string{"--comments", "--ipv6=off"})
			if status, out := run(t, p, verify...); status != 0 {
				t.Errorf("exit status %d\n%s", status, out)
			}
		})
	}
}

// TestCommentsChangeNoAnswer asks what is installed, and what would be, with
// comments and without.
func TestCommentsChangeNoAnswer(t *testing.T) {
	t.Parallel()
	live := [][]string{
		{"show", "-O", "json"},
		{"show", "-O", "dot"},
		{"show", "-O", "mermaid"},
		{"explain", "--live"},
		{"explain", "in", ":8080", "--live"},
		{"explain", "out", "203.0.113.10:443", "--live", "-O", "json"},
		{"explain", "out", "10.96.0.10:53", "--proto=udp", "--live"},
		{"explain", "out", "[2001:db8:113::10]:443", "--uid=1337", "--live"},
		{"explain", "in", "10.244.1.7:8080", "--from", "192.0.2.1:40000", "--trace"},
	}
	planned := [][]string{{"explain"}, {"explain", "in", ":8080"}, {"explain", "out", "10.1.2.3:443", "-O", "json"}}
	for i, name := range slices.Sorted(maps.Keys(commentArgs())) {
		args := commentArgs()[name]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			forHalfOfBackends(t, i, func(t *testing.T, backend string) {
				p := newPod(t, backend)
				answers := func(args ...string) []string {
					apply(t, p, args...)
					var found []string
					for _, words := range live {
						found = append(found, ask(t, p, words...))
						if strings.Contains(found[len(found)-1], "no options make") {
							t.Errorf("%q does not know our own rules:\n%s", words, found[len(found)-1])
						}
					}
					for _, words := range planned {
						found = append(found, ask(t, p, slices.Concat(words, args)...))
					}
					return found
				}
				plain := answers(args...)
				if diff := cmp.Diff(plain, answers(append([]string{"--comments"}, args...)...)); diff != "" {
					t.Errorf("without comments (-), with (+):\n%s", diff)
				}
			})
		})
	}
}

var counted = regexp.MustCompile(`"(packets|bytes)": \d+`)

// ask returns the answer to a question, with its exit status and without counters.
func ask(t *testing.T, p pod, args ...string) string {
	t.Helper()
	status, out := run(t, p, args...)
	return fmt.Sprintf("exit status %d\n%s", status, counted.ReplaceAllString(out, ""))
}

// run returns the exit status of a run and all that it prints.
func run(t *testing.T, p pod, args ...string) (status int, output string) {
	t.Helper()
	return runIn(t, p.Pod, p.command(args...))
}

// runIn is run for any command, anywhere.
func runIn(t *testing.T, where *lab.Namespace, c lab.Command) (status int, output string) {
	t.Helper()
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := where.Run(t.Context(), c)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), out.String()
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0, out.String()
}
