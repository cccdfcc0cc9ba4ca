package nftables

import (
	"embed"
	"maps"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
)

//go:embed testdata/others
var usual embed.FS

// usualDoubts are the matches of usual rules that packets do not decide.
var usualDoubts = map[string][]string{
	"kube-proxy.save": {
		"-m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-RJHMR3QLYGJVBWVL --mask 255.255.255.255 --rsource",
		"-m statistic --mode random --probability 0.50000000000",
	},
	"cilium.save": {"-m socket --transparent"},
	"calico.save": {"-m addrtype ! --src-type LOCAL --limit-iface-out"},
}

// inBytes is what a text for people does not have.
var inBytes = regexp.MustCompile(`not understood|the expression |\b[0-9a-f]{17,}\b|0x[0-9a-f]{9,}`)

// The usual rules of others are read as they are, and nothing in them is in doubt without
// need.
func TestUsualRules(t *testing.T) {
	files, err := usual.ReadDir("testdata/others")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(file.Name(), func(t *testing.T) {
			t.Parallel()
			nstest.Enter(t)
			have := withUsual(t, file.Name())
			if path.Ext(file.Name()) == ".save" {
				want, got := savedRules(t, iptables.IPv4), ruleLines(have.Backends[0].Rules.Save(iptables.IPv4))
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("(-want +got):\n%s", d)
				}
			} else if len(have.Others) == 0 {
				t.Error("nothing is read")
			}
			doubts := make(map[string]bool)
			for _, table := range allTables(have) {
				for _, c := range table.Chains {
					for _, r := range c.Rules {
						if text := r.String(); inBytes.MatchString(text) {
							t.Errorf("%s %s: %s", table.Name, c.Name, text)
						}
						addDoubts(doubts, table.Family, r)
					}
				}
			}
			if d := cmp.Diff(usualDoubts[file.Name()], slices.Sorted(maps.Keys(doubts))); d != "" {
				t.Errorf("in doubt (-want +got):\n%s", d)
			}
		})
	}
}

func withUsual(t *testing.T, name string) installed.Namespace {
	t.Helper()
	rules, err := usual.ReadFile("testdata/others/" + name)
	if err != nil {
		t.Fatal(err)
	}
	program := []string{"nft", "-f", "-"}
	if path.Ext(name) == ".save" {
		program = []string{"iptables-nft-restore"}
	}
	c := exec.Command(program[0], program[1:]...)
	c.Stdin = strings.NewReader(string(rules))
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return readAll(t)
}

func allTables(have installed.Namespace) []iptables.Table {
	all := slices.Clone(have.Others)
	for _, b := range have.Backends {
		all = append(all, b.Rules.Tables...)
	}
	return all
}

// addDoubts adds what packets do not decide of a rule.
func addDoubts(doubts map[string]bool, f iptables.Family, r iptables.Rule) {
	for _, protocol := range []iptables.Protocol{iptables.TCP, iptables.UDP} {
		for _, p := range meeting(f, protocol) {
			if _, err := p.Matches(&iptables.Rule{Protocol: r.Protocol, Matches: r.Matches}); err != nil {
				doubts[iptables.DoubtOf(err).What] = true
			}
		}
	}
}
