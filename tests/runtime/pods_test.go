package runtime

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/meshtables/meshtables/tests/lab"
	"github.com/meshtables/meshtables/tests/runtime/node"
	"github.com/meshtables/meshtables/tests/soak"
)

// entry is the plugin's in the chain.
const entry = `{"type": "meshtables", "capabilities": {"io.kubernetes.cri.pod-annotations": true}}`

// injected are the annotations of a pod that Istio's injector has given a sidecar, and more.
func injected(more ...string) map[string]string {
	notes := map[string]string{"sidecar.istio.io/status": `{"initContainers":["istio-validation","istio-proxy"],"containers":null}`}
	for i := 0; i < len(more); i += 2 {
		notes[more[i]] = more[i+1]
	}
	return notes
}

// injectedByLinkerd are the annotations of a pod that Linkerd's injector has given a proxy.
func injectedByLinkerd() map[string]string {
	return map[string]string{"linkerd.io/proxy-version": "edge-26.7.1", "config.linkerd.io/skip-inbound-ports": fmt.Sprint(excludedPort)}
}

// startPod starts a pod, which must succeed.
func startPod(t testing.TB, n *node.Node, name string, annotations map[string]string) *node.Pod {
	t.Helper()
	p, err := n.StartPod(t.Context(), node.Spec{Namespace: "shop", Name: name, Annotations: annotations})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return p
}

// podTest is a pod, and whether its connections are captured.
type podTest struct {
	annotations map[string]string
	captured    bool
}

func podTests() map[string]podTest {
	tests := map[string]podTest{
		"injected":  {injected("traffic.sidecar.istio.io/excludeInboundPorts", "9090"), true},
		"plain":     {map[string]string{"example.org/a": "b"}, false},
		"nothing":   {nil, false},
		"by-itself": {injected("sidecar.istio.io/status", `{"initContainers":["istio-init"],"containers":["istio-proxy"]}`), false},
	}
	if soak.Whole() {
		tests["opted-out"] = podTest{injected("sidecar.istio.io/inject", "false"), false}
		tests["not-wanted"] = podTest{injected("sidecar.istio.io/interceptionMode", "NONE"), false}
		tests["old-sidecar"] = podTest{injected("sidecar.istio.io/status", `{"initContainers":["istio-validation"],"containers":["istio-proxy"]}`), true}
	}
	return tests
}

// Pods start, with and without a sidecar, and their connections go where they should.
func TestPods(t *testing.T) {
	t.Parallel()
	n := startNode(t, entry)
	serveOutside(t, n)
	t.Run("pods", func(t *testing.T) {
		for name, test := range podTests() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				started := startPod(t, n, name, test.annotations)
				if err := started.RunApplication(t.Context()); err != nil {
					t.Fatal(err)
				}
				p := serve(t, started)
				wantCaptured(t, n, p, test.captured)
				if !test.captured {
					return
				}
				wantVerified(t, n, started)
				want := inbound
				if name == "injected" {
					want = application
				}
				for _, f := range lab.Families() {
					to := netip.AddrPortFrom(p.Address(f), excludedPort)
					if answer, err := ask(t.Context(), n.Host, lab.Identity{}, to); err != nil || answer.Server != want {
						t.Errorf("to %s: answered by %q, %v, want %q", to, answer.Server, err, want)
					}
				}
			})
		}
	})
}

// A pod with a wrong annotation does not start. What the kubelet shows says why, and nothing
// is left. The same goes for a runtime that hands over no annotations.
func TestRefused(t *testing.T) {
	t.Parallel()
	n := startNode(t, entry)
	refused := func(name, want string) {
		t.Helper()
		_, err := n.StartPod(t.Context(), node.Spec{Namespace: "shop", Name: name, Annotations: injected("sidecar.istio.io/interceptionMode", "BOTH")})
		if err == nil || !strings.Contains(err.Error(), `plugin type="meshtables" failed (add): `+want) {
			t.Errorf("got %v", err)
		}
		wantNothingLeft(t, n)
	}
	refused("bad", `annotation sidecar.istio.io/interceptionMode "BOTH": must be REDIRECT or TPROXY`)
	if err := n.Use(t.Context(), n.Chain(`{"type": "meshtables"}`)); err != nil {
		t.Fatal(err)
	}
	refused("without", `the container runtime hands over no annotations of the pod, so nobody can tell whether it has a proxy; `+
		`the plugin's entry has to have "capabilities": {"io.kubernetes.cri.pod-annotations": true}, and the runtime has to know the capability `+
		`io.kubernetes.cri.pod-annotations: containerd 1.5, CRI-O 1.28, or later`)
	if err := n.Use(t.Context(), n.Chain(`{"type": "meshtables", "options": {"banana": 1}}`)); err != nil {
		t.Fatal(err)
	}
	refused("badly set", `options.banana "1": there is no such option; `)
}

// wantNothingLeft checks that there are no pods, no network namespaces and no addresses in use.
func wantNothingLeft(t testing.TB, n *node.Node) {
	t.Helper()
	list, err := n.Client().ListPodSandbox(t.Context(), &cri.ListPodSandboxRequest{})
	if err != nil || len(list.GetItems()) > 0 {
		t.Errorf("pods: %v, %v", list.GetItems(), err)
	}
	if left, err := os.ReadDir(n.File("/run/netns")); err != nil || len(left) > 0 {
		t.Errorf("network namespaces: %v, %v", left, err)
	}
	if used := n.UsedAddresses(); len(used) > 0 {
		t.Errorf("addresses: %q", used)
	}
}

// A pod of Linkerd's is captured by its annotations. Its init container, with the arguments of
// Linkerd's injector, finds the rules as it wants them.
func TestLinkerd(t *testing.T) {
	t.Parallel()
	n := startNode(t, entry)
	serveOutside(t, n)
	started := startPod(t, n, "linkerd", injectedByLinkerd())
	if err := started.RunApplication(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := serveWith(t, started, linkerds)
	wantCaptured(t, n, p, true)
	wantVerified(t, n, started)
	for _, f := range lab.Families() {
		to := netip.AddrPortFrom(p.Address(f), excludedPort)
		if answer, err := ask(t.Context(), n.Host, lab.Identity{}, to); err != nil || answer.Server != application {
			t.Errorf("to %s: answered by %q, %v", to, answer.Server, err)
		}
	}
	out, err := n.Run(t.Context(), program, "--netns", started.OnNode, "--incoming-proxy-port", "4143", "--outgoing-proxy-port", "4140",
		"--proxy-uid", "2102", "--inbound-ports-to-ignore", fmt.Sprintf("4190,4191,%d", excludedPort), "--outbound-ports-to-ignore", "4567,4568", "--ipv6=true")
	if err != nil || out != "unchanged: 16 rules for IPv4 and IPv6, by iptables-nft\n" {
		t.Errorf("the init container says %q, %v", out, err)
	}
}

// Many pods that start at once are all captured.
func TestManyPods(t *testing.T) {
	t.Parallel()
	n := startNode(t, entry)
	pods := make([]*node.Pod, soak.Times(10, 50))
	errs := make([]error, len(pods))
	var all sync.WaitGroup
	for i := range pods {
		all.Go(func() {
			pods[i], errs[i] = n.StartPod(t.Context(), node.Spec{Namespace: "shop", Name: fmt.Sprintf("cart-%d", i), Annotations: injected()})
		})
	}
	all.Wait()
	for i, p := range pods {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		wantVerified(t, n, p)
	}
	serveOutside(t, n)
	wantCaptured(t, n, serve(t, pods[0]), true)
}

// slowDeath is instead of the plugin: it kills the plugin some time after its start, at a
// time that differs from run to run, or not at all.
const slowDeath = `#!/bin/sh
exec timeout -s KILL 0.$(printf %%03d $(( $$ %% 20 )))s %s
`

// While the plugin is killed at random moments, every pod that starts is captured, and of
// those that do not nothing is left in the end.
func TestKilled(t *testing.T) {
	t.Parallel()
	n := startNode(t, entry)
	plugin := filepath.Join(n.Plugins(), "meshtables")
	if err := os.Rename(plugin, plugin+".real"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(plugin, fmt.Appendf(nil, slowDeath, plugin+".real"), 0o755); err != nil {
		t.Fatal(err)
	}
	var started, failed atomic.Int64
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range soak.Times(2, 25) {
				p, err := n.StartPod(t.Context(), node.Spec{Namespace: "shop", Name: fmt.Sprintf("cart-%d-%d", worker, i), Annotations: injected()})
				if err != nil {
					failed.Add(1)
					continue
				}
				started.Add(1)
				wantVerified(t, n, p)
				removeAnyway(t, p)
			}
		})
	}
	all.Wait()
	t.Logf("%d pods started, %d did not", started.Load(), failed.Load())
	if soak.Whole() && (started.Load() == 0 || failed.Load() == 0) {
		t.Error("want some of both")
	}
	if err := os.Rename(plugin+".real", plugin); err != nil {
		t.Fatal(err)
	}
	// If DEL is killed too, the runtime leaves it to the kubelet to try again.
	if err := n.RemovePods(t.Context()); err != nil {
		t.Error(err)
	}
	wantNothingLeft(t, n)
	wantVerified(t, n, startPod(t, n, "cart-0", injected()))
}

// removeAnyway removes a pod as the kubelet does: it tries again. DEL is killed too.
func removeAnyway(t *testing.T, p *node.Pod) {
	t.Helper()
	var err error
	for range 50 {
		if err = p.Remove(t.Context()); err == nil {
			return
		}
	}
	t.Error(err)
}

// Whoever gets the address of a pod that is gone gets nothing of its rules.
func TestAddressAgain(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	copyPlugin(t, n)
	// There is one address of each family.
	chain := strings.NewReplacer(
		`{"subnet": "10.244.3.0/24"}`, `{"subnet": "10.244.3.0/24", "rangeStart": "10.244.3.9", "rangeEnd": "10.244.3.9"}`,
		`{"subnet": "fd00:10:244:3::/64"}`, `{"subnet": "fd00:10:244:3::/64", "rangeStart": "fd00:10:244:3::9", "rangeEnd": "fd00:10:244:3::9"}`,
	).Replace(n.Chain(entry))
	if err := n.WriteChain(chain); err != nil {
		t.Fatal(err)
	}
	start(t, n)
	serveOutside(t, n)
	var addresses []string
	for i, annotations := range []map[string]string{injected(), nil, injected()} {
		p := startPod(t, n, fmt.Sprintf("cart-%d", i), annotations)
		addresses = append(addresses, fmt.Sprint(p.Addresses))
		in := serve(t, p)
		wantCaptured(t, n, in, annotations != nil)
		in.Close()
		if err := p.Remove(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(slices.Compact(addresses)) != 1 {
		t.Errorf("addresses: %q", addresses)
	}
	wantNothingLeft(t, n)
}

// Pods outlive their runtime, and stay captured; it goes on with them.
func TestRuntimeRestarted(t *testing.T) {
	t.Parallel()
	n := startNode(t, entry)
	serveOutside(t, n)
	before := serve(t, startPod(t, n, "before", injected()))
	if err := n.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantCaptured(t, n, before, true)
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := n.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantCaptured(t, n, before, true)
	wantCaptured(t, n, serve(t, startPod(t, n, "after", injected())), true)
	before.Close()
	if err := before.Remove(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}
