package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOwnUsers makes pods with users of their own (hostUsers: false), which the kubelet maps and
// the runtime makes namespaces and mounts for. It takes a newer runtime than the distribution's.
// The plugin captures them as others. The audit tells who their proxy is, by their numbers, and
// repairs them from the node.
func TestOwnUsers(t *testing.T) {
	t.Setenv("PATH", filepath.Join(os.Getenv(programsVariable), "containerd")+":"+os.Getenv("PATH"))
	c := newCluster(t)
	serveOutside(t, c)
	c.applyFolder(t, "cni", "")
	c.applyFolder(t, "audit", "")
	c.rolledOut(t, "daemonset/meshtables-cni", "-n", "meshtables")
	c.rolledOut(t, "daemonset/meshtables-audit", "-n", "meshtables")
	c.apply(t, withOwnUsers(fmt.Sprintf(shop, 3)))
	c.apply(t, withOwnUsers(strings.ReplaceAll(single("another"), "1337", "4711")))
	c.rolledOut(t, "deployment/shop")
	c.do(t, "wait", "--for=condition=Ready", "pod/another", "--timeout="+patience.String())
	c.wantMapped(t, "/program proxy", 4)
	c.wantCaptured(t, "app=shop", true)

	c.wantAudited(t, 3, "as-wanted", "different: the proxy runs as 4711, the rules exempt 1337: its traffic loops")
	for _, p := range c.audited(t, 3) {
		c.onNode(t, "nsenter --net="+p.File+" nft flush ruleset")
	}
	c.wantCaptured(t, "app=shop", false)
	c.wantAudited(t, 3, "uncaptured: no rules", "uncaptured: no rules; the proxy runs as 4711, the rules exempt 1337: its traffic loops")
	c.wantAudited(t, 3, "as-wanted", "uncaptured: no rules; the proxy runs as 4711, the rules exempt 1337: its traffic loops", "--repair")
	c.wantCaptured(t, "app=shop", true)
}

// withOwnUsers gives the pods of a manifest users of their own.
func withOwnUsers(manifest string) string {
	return strings.ReplaceAll(manifest, "terminationGracePeriodSeconds: 1\n", "terminationGracePeriodSeconds: 1\n      hostUsers: false\n")
}

// wantMapped checks that so many processes run a command, on the node as users that are beyond
// those of the node.
func (c *cluster) wantMapped(t *testing.T, command string, n int) {
	t.Helper()
	out := strings.TrimSpace(c.onNode(t, "ps -eo uid,args | grep '[0-9] "+command+"$'"))
	lines := strings.Split(out, "\n")
	if len(lines) != n {
		t.Errorf("%d processes run it, want %d:\n%s", len(lines), n, out)
	}
	for _, line := range lines {
		if uid := strings.Fields(line)[0]; len(uid) < 5 {
			t.Errorf("user %s is the node's: %s", uid, line)
		}
	}
}

// wantAudited checks what the audit says of the pods of the shop, and of the one whose proxy is
// another user.
func (c *cluster) wantAudited(t *testing.T, status int, shop, another string, args ...string) {
	t.Helper()
	found := 0
	for _, p := range c.audited(t, status, args...) {
		var texts []string
		for _, problem := range p.Problems {
			texts = append(texts, problem.Text)
		}
		says := strings.TrimSuffix(p.State+": "+strings.Join(texts, "; "), ": ")
		want := shop
		if p.Name == "another" {
			want = another
		}
		if found++; says != want || p.State == "as-wanted" && fmt.Sprint(p.Forms) != "[nftables]" {
			t.Errorf("audit %q: %s, in %q: %s, want %s", args, p.Name, p.Forms, says, want)
		}
	}
	if found != 4 {
		t.Errorf("audit %q: %d pods, want 4", args, found)
	}
}
