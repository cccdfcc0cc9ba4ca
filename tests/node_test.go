package tests

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/tests/lab"
)

// A node has rules and routes of its own, among them some by the names of ours. Work
// on a pod from there, whichever way the pod is named, changes the pod only.
func TestNodeStaysAsItIs(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, backend string) {
		p := newPod(t, backend)
		node := pod{Lab: &lab.Lab{Pod: p.Peer, Peer: p.Pod}, backend: backend}
		writeNodeRules(t, node)
		before := observe(t, node)
		serveProxy(t, p, false)
		for name, place := range map[string]string{"a file": p.Pod.File(), "a process": processIn(t, p.Pod)} {
			for _, args := range [][]string{{"--redirect-dns"}, {"verify", "--redirect-dns"}, {"--mode=TPROXY"}, {"--drop-invalid"}} {
				args = append(args, "--backend="+backend)
				if stdout, stderr, err := p.fromNode(t, place, args...); err != nil {
					t.Fatalf("%s: %q: %v\n%s%s", name, args, err, stdout, stderr)
				}
			}
			c := check{from: peer(), to: to(lab.PodAddr, 80), want: proxyIn}
			if err := (scenario{}).check(t, p, c, lab.IPv4, true); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if stdout, stderr, err := p.fromNode(t, place, "--cleanup-only"); stdout != "removed\n" {
				t.Errorf("%s: removal says %q, %q, %v", name, stdout, stderr, err)
			}
			if own := ownText(t, p); strings.Contains(own, "ISTIO_") {
				t.Errorf("%s: rules are left in the pod:\n%s", name, own)
			}
		}
		if diff := cmp.Diff(before, observe(t, node)); diff != "" {
			t.Errorf("the node before (-), after (+):\n%s", diff)
		}
	})
}

// writeNodeRules writes what a node might have, and what would be ours in a pod.
func writeNodeRules(t *testing.T, node pod) {
	t.Helper()
	for _, backend := range []string{"iptables-nft", "iptables-legacy"} {
		for _, command := range []string{
			"-t nat -N KUBE-SERVICES", "-t nat -A OUTPUT -j KUBE-SERVICES",
			"-t nat -N ISTIO_OUTPUT", "-t nat -A OUTPUT -p tcp --dport 1 -j ISTIO_OUTPUT",
			"-t mangle -A PREROUTING -p tcp --dport 2 -j MARK --set-mark 1337",
		} {
			program(t, node, "", backend, strings.Fields(command)...)
		}
	}
	program(t, node, "", "nft", "add table inet meshtables; add chain inet meshtables ISTIO_OUTPUT")
	program(t, node, "", "ip", "rule", "add", "fwmark", "1337", "lookup", "133", "protocol", "109")
	program(t, node, "", "ip", "route", "add", "local", "default", "dev", "lo", "table", "133", "protocol", "109")
}

// processIn starts a process in a namespace, which lasts as long as the test, and
// returns its id.
func processIn(t *testing.T, n *lab.Namespace) string {
	t.Helper()
	return processBy(t, n, "")
}

// processBy is processIn with a mount namespace that a shell script has prepared before.
func processBy(t *testing.T, n *lab.Namespace, script string) string {
	t.Helper()
	script += "\necho $$; exec cat"
	stdin, stop := io.Pipe()
	stdout, answer := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- n.Run(t.Context(), lab.Command{
			Path: "unshare", Args: []string{"--mount", "sh", "-e", "-c", script}, Stdin: stdin, Stdout: answer,
		})
	}()
	t.Cleanup(func() {
		stop.Close()
		if err := <-ended; err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	var pid string
	if _, err := fmt.Fscan(stdout, &pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

// fromNode runs the program outside the pod, as the machine's root, for the pod,
// which a file or a process names.
func (p pod) fromNode(t *testing.T, place string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, messages bytes.Buffer
	c := p.command(slices.Concat(args, []string{"--network-namespace=" + place})...)
	c.KillAfter = 30 * time.Second
	c.Stdout, c.Stderr = &out, &messages
	err = p.Peer.Run(t.Context(), c)
	return out.String(), messages.String(), err
}

// Whoever holds the lock of the programs on the node does not keep a pod waiting.
func TestNodeLockIsTheNodes(t *testing.T) {
	t.Parallel()
	p := newPod(t, "iptables-legacy")
	var out, messages bytes.Buffer
	c := p.command("--backend="+p.backend, "--network-namespace="+p.Pod.File())
	// The mounts are those of this run alone.
	script := "mount -t tmpfs tmpfs /run && exec 9>/run/xtables.lock && flock 9 && exec 8>&9 9>&- && exec \"$@\""
	c.Path, c.Args = "unshare", slices.Concat([]string{"--mount", "sh", "-c", script, "sh", c.Path}, c.Args)
	c.Stdout, c.Stderr = &out, &messages
	if err := p.Peer.Run(t.Context(), c); err != nil || !strings.HasPrefix(out.String(), "applied: ") {
		t.Errorf("%v\n%s%s", err, &out, &messages)
	}
}
