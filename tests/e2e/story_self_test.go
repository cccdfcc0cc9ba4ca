package e2e

import (
	"testing"

	"github.com/meshtables/meshtables/tests/lab"
)

// An application that calls a service may be the one that answers: its sidecar
// comes out with the call, to the pod that it is in, and has to come in again, or
// the application would be asked in TLS, by nobody it knows. None of it leaves the
// pod.
func TestOwnServiceAddress(t *testing.T) {
	forEachBackend(t, istio, func(t testing.TB, m *mesh) {
		m.client.serve(t, webPort)
		m.server.serve(t, webPort)
		m.join(t)

		own := m.client.addr.Port(lab.IPv4, webPort)
		stop := m.tap(t, m.client)
		m.wantMeshCall(t, meshCall{from: m.client, called: m.client.service, to: m.client, at: own})
		for s, said := range stop() {
			m.errorf(t, []question{m.client.out(m.client.service), m.client.proxyOut(own)},
				"the wire carries %d bytes from %s to %s", len(said), s.from, s.to)
		}

		peers := m.server.addr.Port(lab.IPv4, webPort)
		m.wantMeshCall(t, meshCall{from: m.client, called: m.server.service, to: m.server, at: peers})
		m.wantOwnAddressIsDirect(t)
	})
}

// wantOwnAddressIsDirect fails the test if a sidecar is on the way of a call to the
// pod's own address.
func (m *mesh) wantOwnAddressIsDirect(t testing.TB) {
	t.Helper()
	for _, f := range lab.Families() {
		own := m.client.addr.Port(f, webPort)
		got, err := m.client.application().call(t.Context(), own.String())
		if err != nil || got.Client.Addr() != own.Addr() || got.Peer != "" {
			m.errorf(t, []question{m.client.out(own)}, "%s: got %+v, %v", own, got, err)
		}
	}
}
