package runtime

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/meshtables/meshtables/tests/built"
	"github.com/meshtables/meshtables/tests/lab"
	"github.com/meshtables/meshtables/tests/runtime/node"
)

// The programs that the tests build: meshtables, what the images hold, and what measures.
var program, waiting, measuring string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "meshtables-runtime-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program, waiting, measuring = filepath.Join(dir, "meshtables"), filepath.Join(dir, "wait"), filepath.Join(dir, "peak")
	for path, folder := range map[string]string{program: "../../cmd/meshtables", waiting: "wait", measuring: "peak"} {
		if err := built.Build(folder, path, ".", built.Stripped()...); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

// missing skips the test, or fails it where nothing may be missing.
func missing(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// newNode makes a node with the plugin in its folder, and without a chain.
func newNode(t testing.TB) *node.Node {
	t.Helper()
	if err := node.Available(); err != nil {
		missing(t, err.Error())
	}
	// Sockets have short names (unix(7)).
	folder, err := os.MkdirTemp("", "node-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(folder); err != nil {
			t.Error(err)
		}
	})
	n, err := node.New(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := n.RemovePods(ctx); err != nil {
			t.Error(err)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// startNode makes a node with a chain, and starts its runtime.
func startNode(t testing.TB, plugins ...string) *node.Node {
	t.Helper()
	n := newNode(t)
	copyPlugin(t, n)
	if err := n.WriteChain(n.Chain(plugins...)); err != nil {
		t.Fatal(err)
	}
	start(t, n)
	return n
}

func start(t testing.TB, n *node.Node) {
	t.Helper()
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := n.AddImages(t.Context(), node.Program(node.PauseImage, waiting), node.Program(node.ApplicationImage, waiting)); err != nil {
		t.Fatal(err)
	}
	if err := n.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// copyPlugin puts the plugin into the node's folder, by hand.
func copyPlugin(t testing.TB, n *node.Node) {
	t.Helper()
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(n.Plugins(), "meshtables"), text, 0o755); err != nil {
		t.Fatal(err)
	}
}

// join returns a pod's network namespace, until the test ends.
func join(t testing.TB, p *node.Pod) *lab.Namespace {
	t.Helper()
	ns, err := p.Join(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}
