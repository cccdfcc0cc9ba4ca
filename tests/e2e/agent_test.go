package e2e

import (
	"fmt"
	"net/http"
	"net/netip"
	"testing"

	"github.com/meshtables/meshtables/tests/lab"
)

// serveAgent runs what a mesh has in place of the kubelet's probes: a server of the
// proxy's user on the status port, which is not captured, that asks the application
// in the kubelet's place. It comes from 127.0.0.6, or the question would be taken
// for one that has yet to come in, and be sent to the sidecar.
func serveAgent(t testing.TB, p *pod) {
	t.Helper()
	asker := caller{from: p.Namespace, Client: lab.Client{
		Socket: p.proxy.user,
		Source: p.source().Port(lab.IPv4, 0),
	}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /app-health/livez", func(w http.ResponseWriter, r *http.Request) {
		body, err := asker.get(r.Context(), fmt.Sprintf("http://%s/healthz", p.agentAsks()))
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(body)
	})
	serveHTTP(t, p.Namespace, p.proxy.user, statusPort, mux)
}

// agentAsks is where the agent asks the application.
func (p *pod) agentAsks() netip.AddrPort { return p.addr.Port(lab.IPv4, webPort) }

// agentOut asks what becomes of the agent's connection.
func (p *pod) agentOut() question { return p.proxyOut(p.agentAsks()).from(p.source().V4) }
