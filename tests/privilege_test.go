package tests

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/meshtables/meshtables/tests/built"
	"github.com/meshtables/meshtables/tests/intercept"
	"github.com/meshtables/meshtables/tests/lab"
	"github.com/meshtables/meshtables/tests/soak"
)

// account is a user and group with a set of capabilities that survives the start
// of a program: the bounding set for root, the ambient set for others.
type account struct{ user, group string }

func (a account) String() string { return a.user + ":" + a.group }

// accounts are root, another user of root's group, and one who has nothing to do
// with root.
func accounts() []account { return []account{{"0", "0"}, {"65532", "0"}, {"65532", "65532"}} }

// TestPrivileges establishes which capabilities each backend needs for what: those
// without which, all others being there, it fails. Then it sees that they are
// enough. The table in deploy/README.md says exactly that.
func TestPrivileges(t *testing.T) {
	t.Parallel()
	var needs needs
	t.Run("necessary", func(t *testing.T) {
		forEachBackend(t, func(t *testing.T, backend string) {
			for _, who := range accounts() {
				if who.group != "0" {
					continue
				}
				t.Run(who.String(), func(t *testing.T) {
					t.Parallel()
					newPrivilegedPod(t, backend, who).establish(t, &needs)
				})
			}
		})
	})
	found := &privileges{cells: make(map[string]string)}
	t.Run("sufficient", func(t *testing.T) {
		forEachBackend(t, func(t *testing.T, backend string) {
			for _, who := range accounts() {
				p := newPrivilegedPod(t, backend, who)
				for _, op := range operations() {
					n := needs.of(op, who, backend)
					found.set(op, who, backend, n, p.try(t, op, n.some), p.try(t, op, n.all))
				}
			}
		})
	})
	if !t.Failed() {
		found.compare(t)
	}
}

// privilegedPod is a pod in which the program runs as an account.
type privilegedPod struct {
	pod
	who   account
	state state
}

func newPrivilegedPod(t *testing.T, backend string, who account) *privilegedPod {
	t.Helper()
	p := &privilegedPod{pod: newPod(t, backend), who: who, state: clean}
	p.program = publicProgram(t)
	return p
}

// publicProgram returns a copy of the program in a folder of its own that is open to
// all: folders of tests are root's alone.
func publicProgram(t *testing.T) string {
	t.Helper()
	own := t.TempDir()
	for _, dir := range []string{own, filepath.Dir(own)} {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	program, err := os.ReadFile(built.Program())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(own, "meshtables")
	writeProgram(t, path, program)
	return path
}

// writeProgram writes a file that is run. Another process does: if this one had it open
// for writing while another test starts a program, that one would have it open too for a
// moment, and the kernel would not run it (ETXTBSY).
func writeProgram(t *testing.T, path string, program []byte) {
	t.Helper()
	cmd := exec.Command("install", "-m", "755", "/dev/stdin", path)
	cmd.Stdin = bytes.NewReader(program)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// lockBeside returns where the iptables programs can have their lock, whoever runs
// them.
func lockBeside(program string) string { return filepath.Join(filepath.Dir(program), "lock") }

// establish finds out what operations need.
func (p *privilegedPod) establish(t *testing.T, found *needs) {
	t.Helper()
	all := capabilities(t)
	for i, removed := range all {
		if !soak.Whole() && !*update && !isNamedInTable(t, removed) {
			// That it is not needed is seen where what is needed is enough.
			continue
		}
		left := slices.Delete(slices.Clone(all), i, i+1)
		for _, op := range operations() {
			if op.probes() && p.backend != backends()[0] {
				continue
			}
			found.add(op, p.who, p.backend, removed, p.try(t, op, left))
		}
	}
}

// try runs an operation with these capabilities and no others, and again where it
// did not succeed: what is needed is that without which it never does.
func (p *privilegedPod) try(t *testing.T, op operation, has []string) outcome {
	t.Helper()
	end := p.run(t, op, has)
	for range 2 {
		if end == succeeded {
			break
		}
		end = max(end, p.run(t, op, has))
	}
	return end
}

// run runs an operation with these capabilities and no others. One that fails
// has to leave what was there, which the next one finds.
func (p *privilegedPod) run(t *testing.T, op operation, has []string) outcome {
	t.Helper()
	if p.state != op.from {
		apply(t, p.pod, op.from.args()...)
		p.state = op.from
	}
	if op.beside {
		program := intercept.Pass(t, "beside", ebpf.SkLookup, ebpf.AttachSkLookup)
		defer intercept.ToNamespace(t, p.Pod.File(), program)()
	}
	lock := lockBeside(p.program)
	var stdout, stderr bytes.Buffer
	err := p.Pod.Run(t.Context(), lab.Command{
		Path:   "setpriv",
		Args:   slices.Concat(p.who.setpriv(has), []string{p.program}, op.args, []string{"--backend=" + p.backend}),
		Env:    []string{"PATH=" + os.Getenv("PATH"), "XTABLES_LOCKFILE=" + lock},
		Stdout: &stdout, Stderr: &stderr,
	})
	if err := os.Remove(lock); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || strings.Contains(stderr.String(), "setpriv:") {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	end := op.outcomeOf(t, err, stdout.Bytes(), stderr.String())
	if end != succeeded {
		t.Logf("%s %s, %d capabilities: %v\n%s%s", op.name, p.who, len(has), err, &stdout, &stderr)
	}
	if end != failed {
		p.state = op.to
	}
	return end
}

// setpriv returns the arguments of setpriv(1). No new privileges is what
// allowPrivilegeEscalation: false means in Kubernetes.
func (a account) setpriv(has []string) []string {
	set := "-all"
	for _, c := range has {
		set += ",+" + c
	}
	args := []string{"--no-new-privs", "--reuid=" + a.user, "--regid=" + a.group, "--clear-groups", "--bounding-set=" + set}
	if a.user == "0" {
		return append(args, "--inh-caps=-all")
	}
	return append(args, "--inh-caps="+set, "--ambient-caps="+set)
}

// capabilities returns those that this process can give, by the names of
// setpriv(1), which lists all by their numbers.
func capabilities(t *testing.T) []string {
	t.Helper()
	list, err := exec.CommandContext(t.Context(), "setpriv", "--list-caps").Output()
	if err != nil {
		missing(t, err.Error())
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	var bounding uint64
	_, text, _ := strings.Cut(string(status), "\nCapBnd:")
	if _, err := fmt.Sscanf(text, "%x", &bounding); err != nil {
		t.Fatal(err)
	}
	var have []string
	for number, name := range strings.Fields(string(list)) {
		if bounding&(1<<number) != 0 {
			have = append(have, name)
		}
	}
	return have
}
