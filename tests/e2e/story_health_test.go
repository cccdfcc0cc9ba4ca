package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/tests/lab"
)

// The kubelet has no certificate, so its HTTP probe on the application's port fails
// however well the application is. It asks on the status port instead, which is not
// captured. A TCP probe reaches the sidecar, which says nothing of the application.
func TestHealthProbes(t *testing.T) {
	forEachBackend(t, istio, func(t testing.TB, m *mesh) {
		stop := m.server.serve(t, webPort)
		serveAgent(t, m.server)
		for _, f := range lab.Families() {
			m.wantProbe(t, m.server.addr.Port(f, webPort), "/healthz", 0)
		}
		m.join(t)
		for _, f := range lab.Families() {
			m.wantRefused(t, m.server.addr.Port(f, webPort), "/healthz")
			m.wantTCPProbe(t, m.server.addr.Port(f, webPort), nil)
			m.wantProbe(t, m.server.addr.Port(f, statusPort), "/app-health/livez", 0)
		}

		stop()
		for _, f := range lab.Families() {
			m.wantProbe(t, m.server.addr.Port(f, statusPort), "/app-health/livez", http.StatusServiceUnavailable)
			m.wantTCPProbe(t, m.server.addr.Port(f, webPort), nil)
			// The sidecar accepts what meshtables captures, and no more.
			m.wantTCPProbe(t, m.server.addr.Port(f, excludedPort), unix.ECONNREFUSED)
			m.wantStatus(t, m.server.addr.Port(f, webPort), http.StatusServiceUnavailable)
		}

		m.server.serve(t, webPort)
		for _, f := range lab.Families() {
			m.wantProbe(t, m.server.addr.Port(f, statusPort), "/app-health/livez", 0)
		}
	})
}

// excludedPort is not captured, by default, and nobody listens there.
const excludedPort = 15021

// wantProbe makes the kubelet's HTTP probe and fails the test unless it is answered
// with a status; 0 for that of success.
func (m *mesh) wantProbe(t testing.TB, to netip.AddrPort, path string, want statusError) {
	t.Helper()
	_, err := m.kubelet().get(t.Context(), fmt.Sprintf("http://%s%s", to, path))
	var got statusError
	if err != nil && !errors.As(err, &got) || got != want {
		about := []question{m.server.inward(to)}
		if to.Port() == statusPort {
			about = append(about, m.server.agentOut())
		}
		m.errorf(t, about, "HTTP probe of %s%s: got %v, want status %d", to, path, err, want)
	}
}

// wantTCPProbe makes the kubelet's TCP probe, which only connects.
func (m *mesh) wantTCPProbe(t testing.TB, to netip.AddrPort, want error) {
	t.Helper()
	conn, err := m.kubelet().dial(t.Context(), "tcp", to.String())
	if err == nil {
		conn.Close()
	}
	if !errors.Is(err, want) {
		m.errorf(t, []question{m.server.inward(to)}, "TCP probe of %s: got error %v, want %v", to, err, want)
	}
}
