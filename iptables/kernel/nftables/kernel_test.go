package nftables

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
)

// owned tells what is ours in these tests.
var owned = sidecar.Ownership()

// The tests of this package write into real kernels: each in network namespaces
// of its own, which nstest.Enter makes sure of. inNamespace gives a test a
// second one.
func inNamespace(t testing.TB, do func(t testing.TB)) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		// Not a subtest, so that a benchmark can use it too; Fatal and Skip
		// end this goroutine and mark the test.
		defer close(done)
		nstest.Enter(t)
		do(t)
	}()
	<-done
	if t.Skipped() {
		t.SkipNow()
	}
	if t.Failed() {
		t.FailNow()
	}
}

// restore lets iptables-nft-restore write a ruleset.
func restore(t testing.TB, family iptables.Family, text string, args ...string) {
	t.Helper()
	program := family.Command() + "-nft-restore"
	if _, err := exec.LookPath(program); err != nil {
		nstest.Missing(t, "the test needs the program %s", program)
	}
	cmd := exec.Command(program, args...)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Logf("input:\n%s", text)
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

// saved is what the iptables-nft-save of both families print, without comment
// lines.
func saved(t testing.TB, args ...string) string {
	t.Helper()
	var b strings.Builder
	for _, family := range iptables.Families() {
		out := nstest.Run(t, family.Command()+"-nft-save", args...)
		for line := range strings.Lines(out) {
			if !strings.HasPrefix(line, "#") {
				b.WriteString(line)
			}
		}
	}
	return b.String()
}

func load(t testing.TB) iptables.Ruleset {
	t.Helper()
	return found(t).Rules
}

// found returns the rules with the token by which they are replaced.
func found(t testing.TB) installed.Backend {
	t.Helper()
	have, err := New(nstest.Here(t), owned).Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return have
}

func replace(t testing.TB, want iptables.Ruleset) {
	t.Helper()
	if err := New(nstest.Here(t), owned).Replace(t.Context(), found(t), want); err != nil {
		t.Fatal(err)
	}
}

func text(rs iptables.Ruleset) string {
	return rs.Save(iptables.IPv4) + rs.Save(iptables.IPv6)
}

// recorded is a run of the reference, see tests/testdata/parity/README.md.
type recorded struct {
	Name   string
	V4, V6 []string
}

// ruleset leaves out tables without rules and chains, which the reference's
// programs bring to life by looking at them.
func (r recorded) ruleset(t testing.TB) iptables.Ruleset {
	t.Helper()
	var rs iptables.Ruleset
	for family, lines := range map[iptables.Family][]string{iptables.IPv4: r.V4, iptables.IPv6: r.V6} {
		tables, err := iptables.ParseSave(family, strings.NewReader(strings.Join(lines, "\n")))
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range tables {
			if slices.ContainsFunc(table.Chains, isUsed) {
				rs.Tables = append(rs.Tables, table)
			}
		}
	}
	return rs
}

func isUsed(c iptables.Chain) bool { return owned.Owns(c.Name) || len(c.Rules) > 0 }

func recordedCases(t testing.TB) []recorded {
	t.Helper()
	b, err := os.ReadFile("../../../tests/testdata/parity/cases.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var cases []recorded
	scanner := bufio.NewScanner(bytes.NewReader(b))
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		var c recorded
		if err := json.Unmarshal(scanner.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		cases = append(cases, c)
	}
	if len(cases) < 100 {
		t.Fatalf("only %d recorded cases", len(cases))
	}
	return cases
}
