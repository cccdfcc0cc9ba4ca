// Package e2e tells the stories that meshtables is for, with a real proxy: two
// pods of a mesh on one node, HAProxy as the sidecar of each, mutual TLS between
// the two, and a kubelet that probes them.
//
// The stories need root and HAProxy (scripts/install-programs). They build
// meshtables first; with MESHTABLES=/path/to/it they test that one. A story that
// fails prints what "meshtables explain" says about the connection in question,
// and what the sidecars have logged.
package e2e

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/meshtables/meshtables/tests/built"
	"github.com/meshtables/meshtables/tests/lab"
)

func TestMain(m *testing.M) {
	os.Exit(built.Main(m))
}

// backends are the ways to write rules that every story is told with.
func backends() []string { return []string{"iptables-nft", "nftables", "iptables-legacy", "iptables"} }

// storyTimeout bounds a story, which takes a second or two.
const storyTimeout = 5 * time.Minute

// forEachBackend tells a story of a mesh with such proxies once for each way to write
// rules. It fails the test if that takes longer than storyTimeout.
func forEachBackend(t *testing.T, of proxy, story func(t testing.TB, m *mesh)) {
	t.Helper()
	t.Parallel()
	for _, backend := range backends() {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			m := newMesh(t, of, backend)
			ctx, end := context.WithTimeout(t.Context(), storyTimeout)
			defer end()
			story(bounded{t, ctx}, m)
			if ctx.Err() != nil {
				t.Errorf("the story takes longer than %s", storyTimeout)
			}
		})
	}
}

// bounded is a test whose context ends before the test does, so that what went wrong
// can still be explained.
type bounded struct {
	*testing.T
	ctx context.Context
}

func (b bounded) Context() context.Context { return b.ctx }

// needPrograms skips the test where it cannot run, or fails it where nothing may
// be missing.
func needPrograms(t testing.TB, backend string) {
	t.Helper()
	err := lab.Available()
	for _, program := range []string{backend, "haproxy"} {
		if program == "nftables" {
			continue // it is written over netlink
		}
		if err == nil {
			_, err = exec.LookPath(program)
		}
	}
	if err == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal(err)
	}
	t.Skip(err)
}
