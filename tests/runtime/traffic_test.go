package runtime

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/meshtables/meshtables/tests/lab"
	"github.com/meshtables/meshtables/tests/runtime/node"
)

// The servers of a pod, by the names with which they answer, and the ports of the application.
const (
	application = "application"
	inbound     = "inbound"
	outbound    = "outbound"
	outside     = "outside"

	applicationPort = 8080
	excludedPort    = 9090
)

// proxy is where a mesh's proxy listens, and its user.
type proxy struct {
	inbound, outbound uint16
	as                lab.Identity
}

// The proxies of the meshes.
var (
	istios   = proxy{15006, 15001, lab.Identity{UID: 1337, GID: 1337}}
	linkerds = proxy{4143, 4140, lab.Identity{UID: 2102, GID: 2102}}
)

// inPod is a pod with servers in it.
type inPod struct {
	*node.Pod
	*lab.Namespace
	proxy proxy
}

// serve starts an application and a stand-in of Istio's proxy in a pod.
func serve(t testing.TB, p *node.Pod) inPod {
	t.Helper()
	return serveWith(t, p, istios)
}

// serveWith is serve with a mesh's proxy.
func serveWith(t testing.TB, p *node.Pod, x proxy) inPod {
	t.Helper()
	ns := join(t, p)
	for _, f := range lab.Families() {
		for port, server := range map[uint16]struct {
			name string
			as   lab.Identity
		}{
			applicationPort: {application, lab.Identity{UID: 1000, GID: 1000}}, excludedPort: {application, lab.Identity{UID: 1000, GID: 1000}},
			x.inbound: {inbound, x.as}, x.outbound: {outbound, x.as},
		} {
			if err := ns.ServeTCP(server.name, lab.Socket{As: server.as}, netip.AddrPortFrom(unspecified(f), port)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return inPod{p, ns, x}
}

func unspecified(f lab.Family) netip.Addr {
	if f == lab.IPv6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// serveOutside starts servers to which the pods of a node connect.
func serveOutside(t testing.TB, n *node.Node) {
	t.Helper()
	for _, f := range lab.Families() {
		if err := n.Host.ServeTCP(outside, lab.Socket{}, lab.Outside.Port(f, 80)); err != nil {
			t.Fatal(err)
		}
	}
}

// wantCaptured checks who answers connections to the pod and from it, of both families.
func wantCaptured(t testing.TB, n *node.Node, p inPod, captured bool) {
	t.Helper()
	in, out := application, outside
	if captured {
		in, out = inbound, outbound
	}
	for _, f := range lab.Families() {
		for _, c := range []struct {
			what string
			from *lab.Namespace
			as   lab.Identity
			to   netip.AddrPort
			want string
		}{
			{"in", n.Host, lab.Identity{}, netip.AddrPortFrom(p.Address(f), applicationPort), in},
			{"out", p.Namespace, lab.Identity{UID: 1000, GID: 1000}, lab.Outside.Port(f, 80), out},
			{"out, by the proxy", p.Namespace, p.proxy.as, lab.Outside.Port(f, 80), outside},
		} {
			answer, err := ask(t.Context(), c.from, c.as, c.to)
			if err != nil || answer.Server != c.want {
				t.Errorf("%s: %s %s: answered by %q, %v, want %q", p.Name, f, c.what, answer.Server, err, c.want)
			}
			if answer.Server == inbound || answer.Server == outbound {
				if answer.OriginalDst != c.to {
					t.Errorf("%s: %s %s: the proxy sees %s, want %s", p.Name, f, c.what, answer.OriginalDst, c.to)
				}
			}
		}
	}
}

// ask connects and returns who answers.
func ask(ctx context.Context, from *lab.Namespace, as lab.Identity, to netip.AddrPort) (lab.Answer, error) {
	conn, err := from.DialTCP(ctx, lab.Client{Socket: lab.Socket{As: as}, Timeout: 10 * time.Second}, to)
	if err != nil {
		return lab.Answer{}, err
	}
	return conn.Answer, conn.Close()
}

// wantVerified checks that the program finds the pod's rules as its annotations ask for.
func wantVerified(t testing.TB, n *node.Node, p *node.Pod) {
	t.Helper()
	if out, err := verify(t.Context(), n, p); err != nil {
		t.Errorf("%s: %v", p.Name, errors.Join(err, fmt.Errorf("%s", out)))
	}
}

// verify compares the rules of a pod with what was asked for.
func verify(ctx context.Context, n *node.Node, p *node.Pod) (string, error) {
	return n.Run(ctx, program, "verify", "--network-namespace="+p.OnNode)
}
