// Package tests holds the black-box tests of meshtables: they run the program in
// a network namespace and look at what happens to real traffic.
//
// They build the program first. With MESHTABLES=/path/to/it they test that one.
package tests

import (
	"bytes"
	"cmp"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/tests/built"
	"github.com/meshtables/meshtables/tests/kernels"
	"github.com/meshtables/meshtables/tests/lab"
	"github.com/meshtables/meshtables/tests/soak"
)

func TestMain(m *testing.M) {
	if folder := os.Getenv(cgroupFolder); folder != "" {
		if err := beProcess(folder, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(built.Main(m))
}

// pod is the pod of a lab with what the program is told in every run.
type pod struct {
	*lab.Lab
	backend     string
	env         []string
	nameServers []netip.Addr
	// random makes the choices of a test, the same in each run.
	random *rand.Rand
	// program is a copy of the program that everybody may run, where not only
	// root does.
	program string
	// options are those that anyOptions chooses from, nil for those of capturing.
	options [][]string
}

// newPod makes a lab for one test, which is skipped where none can be made, or
// where the backend's programs are missing.
func newPod(t testing.TB, backend string) pod {
	t.Helper()
	if err := lab.Available(); err != nil {
		missing(t, err.Error())
	}
	if strings.HasPrefix(backend, "iptables") {
		if _, err := exec.LookPath(backend); err != nil {
			missing(t, err.Error())
		}
	}
	l, err := lab.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	seed := fnv.New64a()
	seed.Write([]byte(t.Name()))
	return pod{Lab: l, backend: backend, random: rand.New(rand.NewPCG(20261129, seed.Sum64()))}
}

// missing skips the test, or fails it where nothing may be missing.
func missing(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// apply runs the program with args, which must succeed.
func apply(t testing.TB, p pod, args ...string) {
	t.Helper()
	meshtables(t, p, append([]string{"--backend=" + p.backend}, args...)...)
}

// cleanup removes what apply has written. It takes no flag on purpose.
func cleanup(t *testing.T, p pod) {
	t.Helper()
	meshtables(t, p, "--cleanup-only")
}

// meshtables runs the program, which must succeed, and returns its answer.
func meshtables(t testing.TB, p pod, args ...string) string {
	t.Helper()
	var out, messages bytes.Buffer
	c := p.command(args...)
	c.Stdout, c.Stderr = &out, &messages
	err := p.Pod.Run(t.Context(), c)
	if err != nil {
		t.Fatalf("meshtables %s\n%v\n%s%s", strings.Join(args, " "), err, &out, &messages)
	}
	return out.String()
}

// command is a run of the program that nothing but args and the pod tells what to
// do: no option comes from this process's environment.
func (p pod) command(args ...string) lab.Command {
	return lab.Command{
		Path:        cmp.Or(p.program, built.Program()),
		Args:        args,
		Env:         slices.Concat([]string{"PATH=" + os.Getenv("PATH")}, p.env),
		NameServers: p.nameServers,
	}
}

// forEachBackend runs a test once for each way to write rules.
func forEachBackend(t *testing.T, test func(t *testing.T, backend string)) {
	for _, backend := range backends() {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			test(t, backend)
		})
	}
}

// forHalfOfBackends is forEachBackend for one of many alike cases, by its number: one
// of the backends over netlink and one of the programs take each in turn, or all do.
func forHalfOfBackends(t *testing.T, number int, test func(t *testing.T, backend string)) {
	for i, backend := range backends() {
		if !soak.Turn(number, i%2, 2) {
			continue
		}
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			test(t, backend)
		})
	}
}

// backends are all ways to write rules. On Debian the programs by the plain name
// write to nf_tables.
//
// In a kernel that lacks some they are those that its row of the table names.
func backends() []string {
	k, err := kernels.Current()
	if err != nil {
		panic(err)
	}
	return k.Backends
}

// executable returns a run of the program where this process runs: for runs that
// touch nothing.
func executable(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	// The folder of the program is root's; whoever runs it has it as a file.
	program, err := os.Open(built.Program())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	cmd := exec.CommandContext(t.Context(), "/proc/self/fd/3", args...)
	cmd.ExtraFiles = []*os.File{program}
	return cmd
}

// writeFile writes a file that is there until the test ends, and returns its path.
func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
