package tests

import (
	"bytes"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/tests/recorded"
)

// TestDryRunIsWhatSavePrints compares, to the letter, what --dry-run prints with
// what iptables-save prints after the same arguments were applied to an empty
// namespace.
func TestDryRunIsWhatSavePrints(t *testing.T) {
	t.Parallel()
	for _, c := range recorded.Cases(t) {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, "iptables-nft").forCase(&c)
			printed := meshtables(t, p, append([]string{"--dry-run"}, caseArgs(&c)...)...)
			if again := meshtables(t, p, append([]string{"--dry-run"}, caseArgs(&c)...)...); again != printed {
				t.Errorf("differs from one run to the next:\n%s\n%s", printed, again)
			}
			if all := save(t, p); all != "" {
				t.Fatalf("the dry run wrote, or the namespace was not empty:\n%s", all)
			}
			apply(t, p, caseArgs(&c)...)
			if diff := cmp.Diff(save(t, p), withoutComments(printed)); diff != "" {
				t.Errorf("iptables-save (-), dry run (+):\n%s", diff)
			}
		})
	}
}

// save returns what iptables-save prints for both families, without comments.
func save(t *testing.T, p pod) string {
	t.Helper()
	var text string
	for _, f := range iptables.Families() {
		text += program(t, p, "", programOf(p.backend, f, "save"))
	}
	return withoutComments(text)
}

func withoutComments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// TestDryRunNeedsNothing runs it as nobody, with no program to be found.
func TestDryRunNeedsNothing(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		missing(t, "only root can become nobody")
	}
	var out bytes.Buffer
	cmd := executable(t, "--dry-run", "--ipv6=on", "--mode=TPROXY")
	cmd.Env = []string{"PATH=/nonexistent"}
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{
		"# iptables-save (IPv4)\n*mangle\n", "# ip6tables-save (IPv6)\n*mangle\n",
		"# ip rule add fwmark 0x539 lookup 133", "# ip -6 addr add ::6/128 dev lo",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, &out)
		}
	}
}
