package e2e

import (
	"testing"

	"github.com/meshtables/meshtables/tests/lab"
)

// Who watches the proxy asks it itself, and others ask on ports that a pod leaves out, in
// plain text. All of that goes past the proxy, and nothing on the ports next to those.
func TestLinkerdIgnoredInbound(t *testing.T) {
	forEachBackend(t, linkerd, func(t testing.TB, m *mesh) {
		serveApplication(t, m.server.Namespace, m.server.proxy.user, m.server.name, proxyAdminPort)
		for _, port := range []uint16{9299, 9300, 9400, 9401} {
			m.server.serve(t, port)
		}
		m.join(t)
		for _, f := range lab.Families() {
			for _, port := range []uint16{proxyAdminPort, 9300, 9400} {
				m.wantPastTheSidecar(t, f, port)
			}
			for _, port := range []uint16{9299, 9401} {
				m.wantRefused(t, m.server.addr.Port(f, port), "/")
			}
		}
	})
}

// proxyAdminPort is where Linkerd's proxy tells of itself.
const proxyAdminPort = 4191

// What an application says on a port that is left out goes past the sidecar, to others in
// the mesh as to the world outside it. So does what it says to its own pod, which Linkerd
// never captures.
func TestLinkerdIgnoredOutbound(t *testing.T) {
	forEachBackend(t, linkerd, func(t testing.TB, m *mesh) {
		m.client.serve(t, webPort)
		m.server.serve(t, webPort)
		m.server.serve(t, 4567)
		serveApplication(t, m.Host, appUser, "outside", 4568)
		m.join(t)

		peers := m.server.addr.Port(lab.IPv4, webPort)
		m.wantMeshCall(t, meshCall{from: m.client, called: m.server.service, to: m.server, at: peers})
		for _, f := range lab.Families() {
			m.wantOutPastTheSidecar(t, m.server.addr.Port(f, 4567))
			m.wantOutPastTheSidecar(t, lab.Outside.Port(f, 4568))
		}
		m.wantOwnAddressIsDirect(t)
	})
}
