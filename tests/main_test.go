// Package tests holds the black-box tests of meshtables: they run the program in
// a network namespace and look at what happens to real traffic.
//
// They build the program first. With MESHTABLES=/path/to/it they test that one.
package tests

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/tests/lab"
)

// programVariable names the environment variable that holds the program to test.
const programVariable = "MESHTABLES"

func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	if os.Getenv(programVariable) == "" {
		dir, err := os.MkdirTemp("", "meshtables-tests-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		program := filepath.Join(dir, "meshtables")
		if err := build(program); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		os.Setenv(programVariable, program)
	}
	return m.Run()
}

// build builds the program as it is released: static, so that it runs in an empty
// image.
func build(program string) error {
	cmd := exec.Command("go", "build", "-o", program, "github.com/meshtables/meshtables/cmd/meshtables")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("failed to build meshtables: %w\n%s", err, out)
	}
	return nil
}

// pod is the pod of a lab with what the program is told in every run.
type pod struct {
	*lab.Lab
	backend     string
	env         []string
	nameServers []netip.Addr
}

// newPod makes a lab for one test, which is skipped where none can be made, or
// where the backend's programs are missing.
func newPod(t *testing.T, backend string) pod {
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
	return pod{Lab: l, backend: backend}
}

// missing skips the test, or fails it where nothing may be missing.
func missing(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// apply runs the program with args, which must succeed.
func apply(t *testing.T, p pod, args ...string) {
	t.Helper()
	meshtables(t, p, append([]string{"--backend=" + p.backend}, args...)...)
}

// cleanup removes what apply has written. It takes no flag on purpose.
func cleanup(t *testing.T, p pod) {
	t.Helper()
	meshtables(t, p, "--cleanup-only")
}

// meshtables runs the program, which must succeed, and returns its answer.
func meshtables(t *testing.T, p pod, args ...string) string {
	t.Helper()
	var out, messages bytes.Buffer
	err := p.Pod.Run(t.Context(), lab.Command{
		Path: os.Getenv(programVariable),
		Args: args,
		// Nothing of this process's environment may set an option.
		Env:         slices.Concat([]string{"PATH=" + os.Getenv("PATH")}, p.env),
		NameServers: p.nameServers,
		Stdout:      &out,
		Stderr:      &messages,
	})
	if err != nil {
		t.Fatalf("meshtables %s\n%v\n%s%s", strings.Join(args, " "), err, &out, &messages)
	}
	return out.String()
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

// backends are all ways to write rules. On Debian the programs by the plain name
// write to nf_tables.
func backends() []string { return []string{"iptables-nft", "iptables-legacy", "iptables"} }

// executable returns a run of the program where this process runs: for runs that
// touch nothing.
func executable(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	// The folder of the program is root's; whoever runs it has it as a file.
	program, err := os.Open(os.Getenv(programVariable))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	cmd := exec.CommandContext(t.Context(), "/proc/self/fd/3", args...)
	cmd.ExtraFiles = []*os.File{program}
	return cmd
}
