// Package built builds programs for black-box tests.
package built

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// variable is the environment variable that names a program to test instead of building
// one.
const variable = "MESHTABLES"

// Main runs the tests of a package against the program, for its TestMain, and
// returns the exit status.
func Main(m *testing.M) int {
	if Program() == "" {
		dir, err := os.MkdirTemp("", "meshtables-tests-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "meshtables")
		if err := Build("", path, "github.com/meshtables/meshtables/cmd/meshtables"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		os.Setenv(variable, path)
	}
	return m.Run()
}

// Program returns the path of the program.
func Program() string { return os.Getenv(variable) }

// Build builds a package as in a release: static, so that it runs in an empty image. It runs
// in a folder, whose module says which dependencies it takes; "" is that of the test. flags
// are those of "go build".
func Build(folder, path, what string, flags ...string) error {
	cmd := exec.Command("go", slices.Concat([]string{"build", "-o", path}, flags, []string{what})...)
	cmd.Dir, cmd.Env = folder, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("failed to build %s in %q: %w\n%s", what, folder, err, out)
	}
	return nil
}

// Stripped are the flags of a build that is as small as a release.
func Stripped() []string { return []string{"-trimpath", "-ldflags=-s -w"} }
