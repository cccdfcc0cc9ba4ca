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
	"os"
	"os/exec"
	"testing"

	"github.com/meshtables/meshtables/tests/built"
	"github.com/meshtables/meshtables/tests/lab"
)

func TestMain(m *testing.M) {
	os.Exit(built.Main(m))
}

// backends are the ways to write rules that every story is told with.
func backends() []string { return []string{"iptables-nft", "nftables", "iptables-legacy", "iptables"} }

// forEachBackend tells a story once for each way to write rules.
func forEachBackend(t *testing.T, story func(t *testing.T, m *mesh)) {
	t.Helper()
	t.Parallel()
	for _, backend := range backends() {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			story(t, newMesh(t, backend))
		})
	}
}

// needPrograms skips the test where it cannot run, or fails it where nothing may
// be missing.
func needPrograms(t *testing.T, backend string) {
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
