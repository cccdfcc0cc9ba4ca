package e2e

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/meshtables/meshtables/tests/lab"
)

// One application calls another, by its pod's address, as plain as ever. What is
// on the wire between the two anybody can read before the pods join the mesh, and
// nobody afterwards.
func TestMutualTLS(t *testing.T) { forEachBackend(t, istio, mutualTLS) }

// With Linkerd's rules too, and who asks in plain text gets no answer any more.
func TestLinkerdMutualTLS(t *testing.T) {
	forEachBackend(t, linkerd, func(t testing.TB, m *mesh) {
		mutualTLS(t, m)
		for _, f := range lab.Families() {
			m.wantRefused(t, m.server.addr.Port(f, webPort), "/")
		}
	})
}

func mutualTLS(t testing.TB, m *mesh) {
	m.server.serve(t, webPort)
	for _, f := range lab.Families() {
		m.wantPlainCall(t, m.server.addr.Port(f, webPort), m.client.addr.In(f))
	}
	m.join(t)
	for _, f := range lab.Families() {
		to := m.server.addr.Port(f, webPort)
		stop := m.tap(t, m.server)
		m.wantMeshCall(t, meshCall{from: m.client, called: to, to: m.server, at: to})
		m.wantTLS(t, stop(), to)
		m.wantCertificateRequired(t, to)
	}
}

// wantCertificateRequired has the kubelet speak TLS and fails the test unless the
// server's sidecar refuses who shows no certificate.
func (m *mesh) wantCertificateRequired(t testing.TB, to netip.AddrPort) {
	t.Helper()
	conn, err := m.kubelet().dial(t.Context(), "tcp", to.String())
	if err != nil {
		m.errorf(t, []question{m.server.inward(to)}, "TLS without certificate to %s: %v", to, err)
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(callTimeout))
	// Whose certificate the sidecar has is not the question.
	secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	// The server refuses only after the client has all it needs (RFC 8446,
	// 4.4.2.4), so the handshake succeeds; what is written may or may not.
	if err := secure.Handshake(); err != nil {
		m.errorf(t, []question{m.server.inward(to)}, "TLS handshake with %s: %v", to, err)
		return
	}
	_, _ = fmt.Fprintf(secure, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", to)
	answer, err := io.ReadAll(secure)
	if err == nil || len(answer) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		m.errorf(t, []question{m.server.inward(to)}, "TLS without certificate to %s: got %q, %v; want it refused", to, answer, err)
	}
}

// wantPlainCall has the client's application call an address and fails the test
// unless the application there answers to the pod itself, in plain text.
func (m *mesh) wantPlainCall(t testing.TB, to netip.AddrPort, client netip.Addr) {
	t.Helper()
	about := []question{m.client.out(to), m.server.inward(to)}
	stop := m.tap(t, m.server)
	got, err := m.client.application().call(t.Context(), to.String())
	if err != nil || got.Client.Addr() != client || got.Peer != "" {
		m.errorf(t, about, "%s before the pods joined: got %+v, %v", to, got, err)
	}
	m.wantPlain(t, stop(), to, about)
}
