package container

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestImage runs the image as deploy/pod.yaml says, for each backend that it has no
// need of programs for: rules are applied, they are what was asked for, connections
// arrive, and everything is removed again.
func TestImage(t *testing.T) {
	t.Parallel()
	for backend, count := range map[string]int{"iptables-nft": 38, "nftables": 17} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			pod := examplePod(t)
			n := newNode(t)
			ofRules, ofValidation := initContainer(t, &pod.Spec, applying), initContainer(t, &pod.Spec, validation)
			ofDryRun := ofRules
			ofRules.Args = append(ofRules.Args[:len(ofRules.Args):len(ofRules.Args)], "--backend="+backend)
			rules := fmt.Sprintf("%d rules for IPv4 and IPv6, by %s\n", count, backend)

			expect(t, n.run(t, &pod, ofRules), 0, "applied: "+rules)
			expect(t, n.run(t, &pod, ofRules), 0, "unchanged: "+rules)
			expect(t, n.run(t, &pod, ofRules, "verify"), 0, "as wanted ("+backend+")\n")
			checkArrived(t, n.run(t, &pod, ofValidation))
			expect(t, n.run(t, &pod, ofDryRun, "--dry-run"), 0, "# iptables-save (IPv4)\n", "--dport 9090 ")
			expect(t, n.run(t, &pod, ofRules, "--cleanup-only"), 0, "removed\n")
			expect(t, n.run(t, &pod, ofRules, "verify"), 3, "different ("+backend+")\n")
			if r := n.run(t, &pod, ofValidation); r.status != 126 {
				t.Errorf("validation without rules: %+v", r)
			}
		})
	}
}

// TestBare runs the image without anything of the manifest but its security: no
// volume, no /etc, no option.
func TestBare(t *testing.T) {
	t.Parallel()
	pod := examplePod(t)
	n := newNode(t)
	c := initContainer(t, &pod.Spec, applying)
	c.Args, c.VolumeMounts = nil, nil
	expect(t, n.run(t, &pod, c), 0, "applied: 36 rules for IPv4 and IPv6, by iptables-nft\n")
	expect(t, n.run(t, &pod, c, "--mode=TPROXY"), 0, "applied: ")
	expect(t, n.run(t, &pod, c, "verify", "--mode=TPROXY"), 0, "as wanted")
	expect(t, n.run(t, &pod, c, "--cleanup-only"), 0, "removed\n")
	if _, err := os.Stat(filepath.Join(n.bundle, "rootfs/etc")); !os.IsNotExist(err) {
		t.Errorf("/etc: %v", err)
	}
}

// Without NET_ADMIN the image still does what needs no privilege, and says what
// is missing for the rest: a file with an effective capability could not even be
// started.
func TestWithoutCapability(t *testing.T) {
	t.Parallel()
	pod := examplePod(t)
	n := newNode(t)
	c := initContainer(t, &pod.Spec, applying)
	c.SecurityContext.Capabilities.Add = nil
	expect(t, n.run(t, &pod, c, "--dry-run"), 0, "# iptables-save (IPv4)\n")
	r := n.run(t, &pod, c)
	if r.status != 1 || r.stdout != "" || !strings.Contains(r.stderr, "capability NET_ADMIN is missing") {
		t.Errorf("got %+v", r)
	}
}

// TestLegacy runs the program as the component legacy says, in an image that has
// the iptables programs: here those of this machine.
func TestLegacy(t *testing.T) {
	t.Parallel()
	example := examplePod(t)
	pod := corev1.Pod{ObjectMeta: example.ObjectMeta, Spec: kustomized(t, "legacy", "Deployment")}
	n := newNode(t)
	n.addPrograms(t)
	c := initContainer(t, &pod.Spec, applying)
	expect(t, n.run(t, &pod, c), 0, "applied: 38 rules for IPv4 and IPv6, by iptables-legacy\n")
	expect(t, n.run(t, &pod, c, "verify"), 0, "as wanted (iptables-legacy)\n")
	checkArrived(t, n.run(t, &pod, initContainer(t, &pod.Spec, validation)))
	expect(t, n.run(t, &pod, c, "--cleanup-only"), 0, "removed\n")
}

// expect checks a run that has nothing to complain about.
func expect(t *testing.T, r result, status int, start string, contains ...string) {
	t.Helper()
	if r.status != status || !strings.HasPrefix(r.stdout, start) || r.stderr != "" {
		t.Fatalf("want status %d and %q, got %+v", status, start, r)
	}
	for _, want := range contains {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("%q is missing from\n%s", want, r.stdout)
		}
	}
}

// checkArrived checks that all connections that can be made in the pod arrived
// where they have to. Those from outside take more than a container should have.
func checkArrived(t *testing.T, r result) {
	t.Helper()
	expect(t, r, 0, "cannot tell: what these options ask for\n")
	passed := 0
	for line := range strings.Lines(r.stdout) {
		switch {
		case strings.HasPrefix(line, "passed "):
			passed++
		case strings.HasPrefix(line, "unknown ") && !strings.Contains(line, "someone outside"):
			t.Error(line)
		}
	}
	// Outbound, the proxy's outbound, the proxy to itself and to the application,
	// in two families.
	if passed < 8 {
		t.Errorf("%d connections arrived:\n%s", passed, r.stdout)
	}
}
