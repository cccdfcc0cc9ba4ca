package tests

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/meshtables/meshtables/tests/built"
	"github.com/meshtables/meshtables/tests/cost"
)

// A run costs little beyond what every Go program does: its page faults are compared with those
// of an empty program, with room for a tenth, and its sockets and messages to the kernel counted.
// docs/performance.md says what they are made of.
func TestCost(t *testing.T) {
	p := newPod(t, "iptables-nft")
	if _, err := exec.LookPath("strace"); err != nil {
		missing(t, err.Error())
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := built.Build("", empty, cost.Empty); err != nil {
		t.Fatal(err)
	}
	usual := func(before []string, words ...string) int {
		t.Helper()
		run, err := cost.Usual(p.Pod, 31, before, words)
		if err != nil {
			t.Fatal(err)
		}
		return run.Faults
	}
	none := usual(nil, empty)
	program := built.Program()
	remove := []string{program, "--cleanup-only"}
	for _, run := range []struct {
		name         string
		before, args []string
		// faults are a multiple of the empty program's.
		faults         float64
		sockets, sends int
	}{
		{name: "version", args: []string{"--version"}, faults: 2.1},
		{name: "apply", before: remove, faults: 3.3, sockets: 3, sends: 8},
		{name: "run again", faults: 3.3, sockets: 3, sends: 8},
		{name: "verify", args: []string{"verify"}, faults: 3.7, sockets: 2, sends: 8},
	} {
		t.Run(run.name, func(t *testing.T) {
			faults := float64(usual(run.before, append([]string{program}, run.args...)...)) / float64(none)
			if err := cost.After(p.Pod, run.before); err != nil {
				t.Fatal(err)
			}
			talk, err := cost.TalkOf(p.Pod, program, run.args...)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%.2f times the %d page faults of an empty program, %d sockets, %d messages", faults, none, talk.Sockets, talk.Sends)
			if faults > run.faults || talk.Sockets > run.sockets || talk.Sends > run.sends {
				t.Errorf("want at most %.2f times, %d sockets, %d messages", run.faults, run.sockets, run.sends)
			}
		})
	}
}
