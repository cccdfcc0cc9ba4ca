package cluster

import (
	"fmt"
	"strings"
	"testing"
)

// TestReboot turns the node off and on again, and what starts there first is the network's own
// plugin, which writes its file anew and knows of no other. Our DaemonSet comes last, when all pods
// run.
func TestReboot(t *testing.T) {
	c := newCluster(t)
	serveOutside(t, c)
	c.install(t, "own")
	c.do(t, "apply", "-k", example(t, "cni-validation", "guarded", "commonAnnotations:\n  "+injected+"\n"))
	c.apply(t, fmt.Sprintf(shop, 5))
	c.rolledOut(t, "deployment/shop")
	c.rolledOut(t, "deployment/guarded-example")
	for _, test := range []struct {
		name string
		run  func(*testing.T, *cluster)
	}{
		{"own", rebootOwn},
		{"entry", rebootEntry},
		{"drop-in", rebootDropIn},
	} {
		// One changes what the next begins with.
		if !t.Run(test.name, func(t *testing.T) { test.run(t, c) }) {
			t.Log(c.troubles(t))
			break
		}
	}
}

// install puts the plugin on the node with a mode, and waits until it is there.
func (c *cluster) install(t *testing.T, mode string) {
	t.Helper()
	c.applyFolder(t, "cni", fmt.Sprintf(`
patches:
- target: {kind: DaemonSet, name: meshtables-cni}
  patch: |
    - {op: add, path: /spec/template/spec/containers/0/args/-, value: --install-mode=%s}
`, mode))
	c.rolledOut(t, "daemonset/meshtables-cni", "-n", "meshtables")
}

// reboot takes the DaemonSet away, which leaves the plugin in place, turns the node off and on, with
// its network as its own plugin writes it, and waits until the pods run again.
func (c *cluster) reboot(t *testing.T) {
	t.Helper()
	c.do(t, "delete", "daemonset", "meshtables-cni", "-n", "meshtables", "--wait=true")
	c.do(t, "wait", "--for=delete", "pod", "-l", "app=meshtables-cni", "-n", "meshtables", "--timeout="+patience.String())
	if err := c.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.WriteChain(c.Chain()); err != nil {
		t.Fatal(err)
	}
	if err := c.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	serveOutside(t, c)
	for prefix, n := range map[string]int{"shop-": 5, "guarded-": 1} {
		if err := c.AwaitSandboxes(t.Context(), prefix, n, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// ready waits until the pods of the shop are ready again.
func (c *cluster) ready(t *testing.T) {
	t.Helper()
	eventually(t, func() error {
		_, err := c.Kubectl(t.Context(), "wait", "--for=condition=Ready", "pod", "-l", "app=shop", "--timeout=5s")
		return err
	})
}

// rebootOwn wants every pod captured from its start, without anything of ours running.
func rebootOwn(t *testing.T, c *cluster) {
	if chain := c.readChain(t); strings.Contains(chain, "meshtables") {
		t.Errorf("the network's own file is\n%s", chain)
	}
	c.reboot(t)
	if n := c.wantVerified(t, ""); n != 6 {
		t.Errorf("%d pods run", n)
	}
	c.ready(t)
	c.rolledOut(t, "deployment/guarded-example")
	for _, app := range []string{"app=shop", "app=guarded"} {
		c.wantCaptured(t, app, true)
	}
	c.install(t, "own")
	if said := c.do(t, "logs", "-n", "meshtables", "-l", "app=meshtables-cni"); strings.Contains(said, "which had started without the plugin") {
		t.Errorf("the DaemonSet says %s", said)
	}
}

// rebootEntry wants the pod with validation to be held, and pods without to run uncaptured, until
// the DaemonSet is there. Then all are captured, and go on.
func rebootEntry(t *testing.T, c *cluster) {
	c.install(t, "entry")
	if chain := c.readChain(t); !strings.Contains(chain, "meshtables") {
		t.Errorf("the network's own file is\n%s", chain)
	}
	c.reboot(t)
	guarded := c.pods(t, "app=guarded")[0].Metadata.Name
	c.held(t, "app=guarded", "meshtables-validation")
	c.ready(t)
	c.wantCaptured(t, "app=shop", false)
	c.install(t, "entry")
	c.goesOn(t, "guarded", guarded)
	for _, p := range c.pods(t, "app=shop") {
		c.saysMissed(t, "default/"+p.Metadata.Name)
	}
	c.wantCaptured(t, "app=shop", true)
}

// rebootDropIn is the same with a runtime that reads no drop-ins: the entry is there too.
func rebootDropIn(t *testing.T, c *cluster) {
	c.install(t, "drop-in")
	if chain := c.readChain(t); !strings.Contains(chain, "meshtables") {
		t.Errorf("the network's own file is\n%s", chain)
	}
	c.apply(t, single("dropped-in"))
	c.do(t, "wait", "--for=condition=Ready", "pod/dropped-in", "--timeout="+patience.String())
	c.wantCaptured(t, "app=dropped-in", true)
	c.install(t, "own")
}
