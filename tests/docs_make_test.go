package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/tests/built"
	"github.com/meshtables/meshtables/tests/lab"
)

// copyClone copies this clone, as it was before anything was made in it.
func copyClone(t *testing.T, to string) {
	t.Helper()
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		from := filepath.Join("..", e.Name())
		switch {
		case slices.Contains([]string{".git", "bin", "dist"}, e.Name()):
		case e.IsDir():
			err = os.CopyFS(filepath.Join(to, e.Name()), os.DirFS(from))
		default:
			err = os.WriteFile(filepath.Join(to, e.Name()), []byte(readDocument(t, from)), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// useProgram puts the program that the tests are about where make build puts it.
func useProgram(t *testing.T, folder string) {
	t.Helper()
	program := filepath.Join(folder, "bin", "meshtables")
	if err := os.MkdirAll(filepath.Dir(program), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(program); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(built.Program(), program); err != nil {
		t.Fatal(err)
	}
}

// quick are the targets of make that are run. Of the others, which take minutes, or
// are these tests, it is only seen that the Makefile has them.
func quick() []string { return []string{"build", "demo", "docs", "image"} }

// makeBlock makes a folder a clone and runs the commands of a block there.
func makeBlock(t *testing.T, clone string, b block) {
	t.Helper()
	copyClone(t, clone)
	for i, line := range b.text {
		command, _, _ := strings.Cut(line, "#")
		words := strings.Fields(command)
		if len(words) != 2 || words[0] != "make" {
			t.Errorf("line %d: %q is not make and a target", b.line+i, line)
			continue
		}
		args := []string{"-C", clone, words[1]}
		if !slices.Contains(quick(), words[1]) {
			args = append(args, "--dry-run")
		}
		if err := lab.Available(); words[1] == "demo" && err != nil {
			missing(t, err.Error())
		}
		cmd := exec.CommandContext(t.Context(), "make", args...)
		// What is compiled is then the same in every clone.
		cmd.Env = append(os.Environ(), "GOFLAGS=-trimpath")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("line %d: %s: %v\n%s", b.line+i, command, err, out)
		}
	}
}
