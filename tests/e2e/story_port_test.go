package e2e

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/meshtables/meshtables/tests/lab"
)

// A port that is missing from the list of those to capture goes past the sidecar:
// whoever asks in plain text is answered, and callers in the mesh, whose sidecars
// speak TLS to every pod, get errors that nobody understands. Adding it to the list,
// on the pod as it runs, is the end of both; no other connection notices.
func TestMissingPort(t *testing.T) {
	forEachBackend(t, istio, func(t testing.TB, m *mesh) {
		m.server.serve(t, webPort)
		m.server.serve(t, adminPort)
		m.server.serve(t, metricsPort)
		serveApplication(t, m.Host, appUser, "outside", outsidePort)
		m.joinWith(t, nil, []string{"-b", "8080"})

		admin := m.server.addr.Port(lab.IPv4, adminPort)
		for _, f := range lab.Families() {
			m.wantPastTheSidecar(t, f, adminPort)
		}
		m.wantNoHandshake(t, admin)
		plain, err := m.kubelet().converse(t.Context(), admin)
		if err != nil {
			m.fatalf(t, []question{m.server.inward(admin)}, "a connection to %s: %v", admin, err)
		}
		defer plain.Close()
		others := m.otherTraffic()
		for _, each := range others {
			each.start(t, m)
		}
		for _, each := range others {
			each.more(t, m)
		}

		m.apply(t, m.server, "-b", "8080,9090")

		for _, f := range lab.Families() {
			m.wantRefused(t, m.server.addr.Port(f, adminPort), "/")
		}
		m.wantMeshCall(t, meshCall{from: m.client, called: admin, to: m.server, at: admin})
		for _, each := range others {
			each.more(t, m)
		}
		for _, each := range others {
			each.stop(t, m)
		}
		// The kernel asks the rules about the first packet of a connection only.
		if err := plain.exchange(); err != nil {
			m.errorf(t, []question{m.server.inward(admin)}, "the connection to %s from before: %v", admin, err)
		}
	})
}

// outsidePort is that of a server which is in no mesh.
const outsidePort = 8000

// metricsPort is one more of the application's, which never is on the list.
const metricsPort = 7070

// otherTraffic is what goes on while the list is changed: through both sidecars,
// into the pod past its own, and out of it.
func (m *mesh) otherTraffic() []*load {
	web := m.server.addr.Port(lab.IPv4, webPort)
	web6 := m.server.addr.Port(lab.IPv6, webPort)
	metrics := m.server.addr.Port(lab.IPv4, metricsPort)
	outside := lab.Outside.Port(lab.IPv4, outsidePort)
	client, server := m.client.application(), m.server.application()
	return []*load{
		{name: "mesh, IPv4", caller: client, to: web, about: []question{m.client.out(web), m.server.inward(web)}},
		{name: "mesh, IPv6", caller: client, to: web6, about: []question{m.client.out(web6), m.server.inward(web6)}},
		{name: "past the sidecar", caller: m.kubelet(), to: metrics, about: []question{m.server.inward(metrics)}},
		{name: "outbound", caller: server, to: outside, about: []question{m.server.out(outside)}},
	}
}

// wantNoHandshake has the client's application call an address and fails the test
// unless its sidecar gives up: what answers there knows no TLS.
func (m *mesh) wantNoHandshake(t testing.TB, to netip.AddrPort) {
	t.Helper()
	got, err := m.client.application().call(t.Context(), to.String())
	if err == nil || errors.Is(err, context.DeadlineExceeded) {
		m.errorf(t, []question{m.client.out(to), m.server.inward(to)},
			"the client calls %s, which is not captured: got %+v, %v; want no answer", to, got, err)
	}
}
