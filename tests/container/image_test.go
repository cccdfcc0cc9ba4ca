package container

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/meshtables/meshtables/tests/lab"
)

// layoutVariable names the environment variable that holds the OCI image layout of
// the image to run, for one architecture.
const layoutVariable = "MESHTABLES_IMAGE"

// TestMain makes the image, and leaves tests that need a runtime to skip
// themselves where it cannot.
func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "meshtables-container-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if lab.Available() == nil && available() == nil {
		layout, err := makeImage(context.Background(), dir)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		os.Setenv(layoutVariable, layout)
	}
	return m.Run()
}

// available returns nil if the programs are there that unpack the image and run
// it as a node does: none of them is of this project.
func available() error {
	for _, name := range []string{"skopeo", "umoci", "runc"} {
		if _, err := exec.LookPath(name); err != nil {
			return err
		}
	}
	return nil
}

// makeImage makes the archive and takes the image of this machine's architecture
// from it.
func makeImage(ctx context.Context, dir string) (layout string, err error) {
	archive, layout := filepath.Join(dir, "meshtables.oci.tar"), filepath.Join(dir, "layout")
	if err := command(ctx, "../..", "go", "run", "./scripts/image", archive); err != nil {
		return "", err
	}
	return layout, command(ctx, "", "skopeo", "copy", "--quiet", "--override-arch", runtime.GOARCH,
		"oci-archive:"+archive, "oci:"+layout+":test")
}

// unpack makes a bundle of the image: its root file system, and a config.json of
// what the image says itself.
func unpack(t *testing.T) (bundle string) {
	t.Helper()
	layout := os.Getenv(layoutVariable)
	if layout == "" {
		missing(t, "needs root, skopeo, umoci and runc")
	}
	bundle = filepath.Join(t.TempDir(), "bundle")
	if err := command(t.Context(), "", "umoci", "unpack", "--image", layout+":test", bundle); err != nil {
		t.Fatal(err)
	}
	return bundle
}

func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %q: %w\n%s", name, args, err, out)
	}
	return nil
}

// missing skips the test, or fails it where nothing may be missing.
func missing(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}
