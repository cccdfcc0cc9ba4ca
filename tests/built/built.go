// Package built builds the program for black-box tests.
package built

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
		if err := build(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		os.Setenv(variable, path)
	}
	return m.Run()
}

// Program returns the path of the program.
func Program() string { return os.Getenv(variable) }

// build builds the program as in a release: static, so that it runs in an empty image.
func build(path string) error {
	cmd := exec.Command("go", "build", "-o", path, "github.com/meshtables/meshtables/cmd/meshtables")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("failed to build meshtables: %w\n%s", err, out)
	}
	return nil
}
