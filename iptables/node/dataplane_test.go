package node

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/capture/linkerd"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// lookAt looks at a namespace in which iptables has run with arguments, one rule a line.
func lookAt(t *testing.T, notes map[string]string, rules string) Report {
	t.Helper()
	nstest.Enter(t)
	ns, err := namespace.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	err = ns.Do(func() error {
		for line := range strings.Lines(rules) {
			if out, err := exec.Command("iptables", strings.Fields(line)...).CombinedOutput(); err != nil {
				return fmt.Errorf("%s: %w: %s", line, err, out)
			}
		}
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	if err != nil {
		t.Fatal(err)
	}
	a := &Auditor{Policies: capture.Policies{sidecar.Policy{}, linkerd.Policy{}}}
	return *a.look(t.Context(), ns, &Pod{Namespace: "shop", Name: "cart", Annotations: notes}).report
}

const (
	othersRules = `-t nat -N PROXY_INIT_OUTPUT
-t nat -A PROXY_INIT_OUTPUT -p tcp -j REDIRECT --to-ports 4140
-t nat -A OUTPUT -j PROXY_INIT_OUTPUT`
	sidecarsRules = `-t nat -N ISTIO_OUTPUT
-t nat -A ISTIO_OUTPUT -p tcp -j REDIRECT --to-ports 15001
-t nat -A OUTPUT -j ISTIO_OUTPUT`
)

// Rules of another dataplane than the pod asks for are told as such, and so is a pod that has
// none of it.
func TestOtherDataplane(t *testing.T) {
	inMesh := map[string]string{"sidecar.istio.io/status": `{"initContainers":["istio-proxy"]}`}
	inOther := map[string]string{"linkerd.io/proxy-version": "edge-26.7.1"}
	for _, test := range []struct {
		name, rules string
		notes       map[string]string
		state       State
		kind        Kind
		mesh        string
	}{
		{"Linkerd's rules", othersRules, inMesh, Different, OtherMesh, "istio"},
		{"a sidecar's rules", sidecarsRules, inOther, Different, OtherMesh, "linkerd"},
		{"rules of both", sidecarsRules + "\n" + othersRules, inMesh, Different, OtherMesh, "istio"},
		{"left by Linkerd", othersRules, map[string]string{}, Different, Leftovers, "linkerd"},
		{"its own rules, damaged", sidecarsRules, inMesh, Different, Drift, "istio"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := lookAt(t, test.notes, test.rules)
			if r.State != test.state || !r.Has(test.kind) || r.Mesh != test.mesh {
				t.Errorf("%s of %s: %v, want %s, %s", r.State, r.Mesh, r.Problems, test.state, test.kind)
			}
		})
	}
}
