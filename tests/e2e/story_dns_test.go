package e2e

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/meshtables/meshtables/tests/lab"
)

// An application calls others by name. It asks the cluster's name server, as ever;
// the question comes to its sidecar, which asks the server in turn and knows from
// then on what the names stand for.
func TestCallByName(t *testing.T) {
	forEachBackend(t, istio, func(t testing.TB, m *mesh) {
		m.server.serve(t, webPort)
		peer := m.server.addr.Port(lab.IPv4, webPort)
		upstream := m.serveNames(t, zone{
			"server.mesh.":   m.server.service.Addr(),
			"headless.mesh.": peer.Addr(),
		})
		m.join(t, "--redirect-dns")
		proxied := m.forwardNames(t, m.client)

		m.wantMeshCall(t, meshCall{
			from: m.client, host: "server.mesh", called: m.server.service, to: m.server, at: peer})
		m.wantMeshCall(t, meshCall{
			from: m.client, host: "headless.mesh:8080", called: peer, to: m.server, at: peer})
		// Two calls, two questions, and none past the sidecar.
		if proxied.Load() != 2 || upstream.Load() != 2 {
			m.errorf(t, []question{m.client.out(nameServer).udp()},
				"the sidecar was asked %d times, the name server %d times; want 2 each", proxied.Load(), upstream.Load())
		}
	})
}

// What is neither TCP nor DNS goes its way: the server sees the client's own
// address and port, and no sidecar is asked.
func TestUDPServiceIsUntouched(t *testing.T) {
	forEachBackend(t, istio, func(t testing.TB, m *mesh) {
		const port = 5353
		for _, f := range lab.Families() {
			if err := m.server.ServeUDP(m.server.name, appUser, m.server.addr.Port(f, port)); err != nil {
				t.Fatal(err)
			}
		}
		m.join(t, "--redirect-dns", "--capture-all-dns")
		for _, f := range lab.Families() {
			to := m.server.addr.Port(f, port)
			client := lab.Client{Socket: appUser, Source: m.client.addr.Port(f, 40000)}
			got, err := m.client.AskUDP(t.Context(), client, to)
			if err != nil || got.Server != m.server.name || got.Client != client.Source {
				m.errorf(t, []question{m.client.out(to).udp(), m.server.inward(to).udp()},
					"datagram to %s: got %+v, %v; want an answer to %s", to, got, err, client.Source)
			}
		}
	})
}

// nameServer is the one in the pods' resolv.conf.
var nameServer = lab.Resolver.Port(lab.IPv4, 53)

// serveNames runs the cluster's name server, which counts what it is asked.
func (m *mesh) serveNames(t testing.TB, z zone) *atomic.Int32 {
	t.Helper()
	asked := new(atomic.Int32)
	err := m.Host.HandleUDP(lab.Socket{}, nameServer, func(query []byte, _ netip.AddrPort) []byte {
		asked.Add(1)
		return z.answer(query)
	})
	if err != nil {
		t.Fatal(err)
	}
	return asked
}

// forwardNames runs the part of a pod's sidecar that answers for DNS: as the
// proxy's user it asks the name server for the application. HAProxy has none.
func (m *mesh) forwardNames(t testing.TB, p *pod) *atomic.Int32 {
	t.Helper()
	asked := new(atomic.Int32)
	forward := func(query []byte, _ netip.AddrPort) []byte {
		asked.Add(1)
		response, err := p.ExchangeUDP(t.Context(), lab.Client{Socket: p.proxy.user}, nameServer, query)
		if err != nil {
			m.errorf(t, []question{p.proxyOut(nameServer).udp()}, "the %s's sidecar asks the name server: %v", p.name, err)
		}
		return response
	}
	if err := p.HandleUDP(p.proxy.user, lab.Loopback.Port(lab.IPv4, dnsPort), forward); err != nil {
		t.Fatal(err)
	}
	return asked
}

// resolver asks the name server of resolv.conf, as the pod's application does.
func (p *pod) resolver() *net.Resolver {
	return &net.Resolver{
		PreferGo: true,
		// The address that it is asked to dial is of this machine's resolv.conf.
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return p.Dial(ctx, "udp", lab.Client{Socket: appUser}, nameServer)
		},
	}
}
