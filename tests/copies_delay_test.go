package tests

import (
	"bufio"
	"io"
	"testing"
	"time"

	"github.com/meshtables/meshtables/tests/lab"
)

// No process of a pod can keep the rules as they are: not by any lock that it may take
// without a capability.
func TestProcessesOfThePodDelayNothing(t *testing.T) {
	t.Parallel()
	p := newPod(t, "nftables")
	holdNamespace(t, p.Pod)
	const bound = 5 * time.Second
	for _, args := range [][]string{{"--backend=nftables"}, {"--backend=nftables"}, {"--backend=iptables-nft", "--mode=TPROXY"}, {"--cleanup-only"}} {
		start := time.Now()
		meshtables(t, p, args...)
		if took := time.Since(start); took > bound {
			t.Errorf("%q takes %v", args, took)
		}
	}
	start := time.Now()
	if stdout, stderr, err := p.fromNode(t, p.Pod.File(), "--backend=nftables"); err != nil || time.Since(start) > bound {
		t.Errorf("from the node: %v, after %v\n%s%s", err, time.Since(start), stdout, stderr)
	}
}

// holdNamespace has nobody lock the file of a network namespace as long as the test lasts.
func holdNamespace(t *testing.T, n *lab.Namespace) {
	t.Helper()
	stdin, stop := io.Pipe()
	stdout, answer := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := n.Run(t.Context(), lab.Command{
			Path: "setpriv",
			Args: []string{"--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all",
				"flock", "/proc/self/ns/net", "sh", "-c", "echo held; exec cat"},
			Stdin: stdin, Stdout: answer,
		})
		answer.CloseWithError(err)
		ended <- err
	}()
	t.Cleanup(func() {
		stop.Close()
		if err := <-ended; err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "held\n" {
		t.Fatalf("nobody says %q, %v", line, err)
	}
}
