package nftables

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/nstest"

	_ "embed"
)

//go:embed testdata/extensions.txt
var extensions string

// apply runs iptables' commands, and returns those that this kernel refuses.
func apply(t *testing.T, commands string) (refused []string) {
	t.Helper()
	for line := range strings.Lines(commands) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		program, args, _ := strings.Cut(line, " ")
		if out, err := exec.Command("sh", "-c", program+"-nft "+args).CombinedOutput(); err != nil {
			t.Logf("%s: %s", line, out)
			refused = append(refused, line)
		}
	}
	return refused
}

// savedRules returns what iptables-nft-save prints of a family, without policies, and in
// the order of the model.
func savedRules(t *testing.T, f iptables.Family) []string {
	t.Helper()
	out, err := exec.Command(f.Command() + "-nft-save").Output()
	if err != nil {
		t.Fatal(err)
	}
	// The names of protocols are those of this machine.
	return ruleLines(strings.ReplaceAll(string(out), "-p ipencap ", "-p 4 "))
}

func ruleLines(text string) []string {
	var rules []string
	for line := range strings.Lines(text) {
		if line[0] == '*' || line[0] == '-' {
			rules = append(rules, strings.TrimSpace(line))
		}
	}
	return rules
}

// Foreign rules read as iptables-save prints them.
func TestExtensions(t *testing.T) {
	nstest.Enter(t)
	refused := apply(t, extensions)
	if all := strings.Count(extensions, "\n"); len(refused) > all/4 {
		t.Errorf("the kernel refuses %d of %d rules", len(refused), all)
	}
	have, err := Read(t.Context(), nstest.Here(t), owned)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range iptables.Families() {
		want, got := savedRules(t, f), ruleLines(have.Backends[0].Rules.Save(f))
		slices.Sort(want)
		slices.Sort(got)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", f, d)
		}
	}
}

// What has no words is named, and nothing is printed of its bytes.
func TestNotUnderstood(t *testing.T) {
	nstest.Enter(t)
	apply(t, `
		iptables -t mangle -A PREROUTING -j HMARK --hmark-tuple src --hmark-mod 5 --hmark-rnd 1
		ip6tables -t filter -A INPUT -m frag --fragid 5
	`)
	have, err := Read(t.Context(), nstest.Here(t), owned)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range iptables.Families() {
		got = append(got, ruleLines(have.Backends[0].Rules.Save(f))...)
	}
	want := []string{"*mangle", "-A PREROUTING -j HMARK (not understood)", "*filter", "-A INPUT -m frag (not understood)"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
