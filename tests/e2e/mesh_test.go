package e2e

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/tests/built"
	"github.com/meshtables/meshtables/tests/lab"
)

// The ports of a pod, besides those of its proxy. The last two are Istio's.
const (
	webPort    = 8080  // the application's
	adminPort  = 9090  // another of the application's
	statusPort = 15020 // the agent's, which meshtables excludes by default
	dnsPort    = 15053 // the sidecar's, for captured DNS
)

// appUser is the application's.
var appUser = lab.Socket{As: lab.Identity{UID: 5000, GID: 5000}}

// mesh is a node with two pods, each with an application and room for a sidecar.
type mesh struct {
	*lab.Node
	backend        string
	client, server *pod
}

// pod is one pod of the mesh.
type pod struct {
	*lab.Namespace
	// name is what its application answers with, and what its sidecar's
	// certificate says.
	name string
	addr lab.Addr
	// link is the interface of the node's bridge that leads to it.
	link string
	// service is the address that it is called by as a service; only sidecars
	// know it.
	service netip.AddrPort
	// proxy is what its sidecar is like.
	proxy proxy
	// sidecar is nil until the pod gets one.
	sidecar *sidecar
}

// newMesh makes the node. Its pods are as they are before meshtables runs.
func newMesh(t testing.TB, of proxy, backend string) *mesh {
	t.Helper()
	needPrograms(t, backend)
	node, err := lab.NewNode(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Close(); err != nil {
			t.Error(err)
		}
	})
	newPod := func(i int, name, service string) *pod {
		return &pod{
			Namespace: node.Pods[i], name: name, addr: lab.NodePodAddr(i), link: lab.NodePort(i),
			service: netip.MustParseAddrPort(service), proxy: of,
		}
	}
	return &mesh{
		Node: node, backend: backend,
		client: newPod(0, "client", "10.96.0.80:80"),
		server: newPod(1, "server", "10.96.0.81:80"),
	}
}

// pods returns both pods.
func (m *mesh) pods() []*pod { return []*pod{m.client, m.server} }

// join makes both pods part of the mesh, in a pod's order: meshtables as the init
// container, then the sidecar.
func (m *mesh) join(t testing.TB, args ...string) {
	t.Helper()
	m.joinWith(t, args, args)
}

// joinWith is join with other arguments for each pod.
func (m *mesh) joinWith(t testing.TB, client, server []string) {
	t.Helper()
	ca := newAuthority(t)
	for i, args := range [][]string{client, server} {
		m.apply(t, m.pods()[i], args...)
		m.startSidecar(t, m.pods()[i], ca)
	}
}

// apply runs meshtables in a pod, which must succeed. The arguments follow those of the
// pod's mesh.
func (m *mesh) apply(t testing.TB, p *pod, args ...string) {
	t.Helper()
	args = slices.Concat([]string{"--backend=" + m.backend}, p.proxy.arguments, args)
	if out, err := m.meshtables(t.Context(), p, args...); err != nil {
		t.Fatalf("meshtables %s in the %s's pod: %v\n%s", strings.Join(args, " "), p.name, err, out)
	}
}

// meshtables runs the program in a pod and returns all that it says.
func (m *mesh) meshtables(ctx context.Context, p *pod, args ...string) (string, error) {
	var out bytes.Buffer
	err := p.Run(ctx, lab.Command{
		Path: built.Program(),
		Args: args,
		// Nothing of this process's environment may set an option.
		Env:    []string{"PATH=" + os.Getenv("PATH")},
		Stdout: &out,
		Stderr: &out,
	})
	return out.String(), err
}
