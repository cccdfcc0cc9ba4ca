package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/meshtables/meshtables/tests/lab"
)

// meshCall is a call that passes the sidecars of both pods.
type meshCall struct {
	from *pod
	// host is what the application calls, called the address that it then
	// connects to. If host is empty it is that address.
	host   string
	called netip.AddrPort
	// to is the pod that answers, at the address that the sidecar connects to.
	to *pod
	at netip.AddrPort
}

// wantMeshCall makes the call and fails the test unless both sidecars were on its
// way: the caller's has shown its certificate, the other has asked the application.
func (m *mesh) wantMeshCall(t testing.TB, c meshCall) {
	t.Helper()
	host := cmp.Or(c.host, c.called.String())
	got, err := c.from.application().call(t.Context(), host)
	want := reply{c.to.name, c.to.source().Port(familyOf(c.at), got.Client.Port()), c.from.name}
	if err != nil || got != want {
		about := []question{c.from.out(c.called), c.from.proxyOut(c.at)}
		if c.to != c.from {
			about = append(about, c.to.inward(c.at))
		}
		m.errorf(t, about, "the %s calls %s: got %+v, %v; want %+v", c.from.name, host, got, err, want)
	}
}

// familyOf returns the family of an address.
func familyOf(a netip.AddrPort) lab.Family {
	if a.Addr().Is6() {
		return lab.IPv6
	}
	return lab.IPv4
}

// wantRefused has the kubelet make a plain request and fails the test unless the
// connection is accepted, by the server's sidecar, and ended without an answer.
func (m *mesh) wantRefused(t testing.TB, to netip.AddrPort, path string) {
	t.Helper()
	body, err := m.kubelet().get(t.Context(), fmt.Sprintf("http://%s%s", to, path))
	if err == nil || isDialling(err) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, new(statusError)) {
		m.errorf(t, []question{m.server.inward(to)}, "plain request to %s: got %q, %v; want it refused", to, body, err)
	}
}

// isDialling tells whether there was no connection at all.
func isDialling(err error) bool {
	var at *net.OpError
	return errors.As(err, &at) && at.Op == "dial"
}

// wantStatus has the client's application call an address and fails the test unless
// it is answered, by a sidecar, with a status.
func (m *mesh) wantStatus(t testing.TB, to netip.AddrPort, want statusError) {
	t.Helper()
	if _, err := m.client.application().call(t.Context(), to.String()); !errors.Is(err, want) {
		m.errorf(t, []question{m.client.out(to), m.server.inward(to)}, "request to %s: got %v, want %v", to, err, want)
	}
}

// wantPastTheSidecar has the kubelet make a plain request and fails the test unless
// the application itself answers it.
func (m *mesh) wantPastTheSidecar(t testing.TB, f lab.Family, port uint16) {
	t.Helper()
	to := m.server.addr.Port(f, port)
	about := []question{m.server.inward(to)}
	stop := m.tap(t, m.server)
	got, err := m.kubelet().call(t.Context(), to.String())
	want := reply{m.server.name, netip.AddrPortFrom(lab.NodeAddr.In(f), got.Client.Port()), ""}
	if err != nil || got != want {
		m.errorf(t, about, "plain request to %s: got %+v, %v; want %+v", to, got, err, want)
	}
	m.wantPlain(t, stop(), to, about)
}

// wantOutPastTheSidecar has the client's application call an address and fails the test
// unless who answers there sees the application's own connection, and so no sidecar's.
func (m *mesh) wantOutPastTheSidecar(t testing.TB, to netip.AddrPort) {
	t.Helper()
	c := m.client.application()
	// No port that the kernel chooses (ip_local_port_range in ip(7)), so a connection of
	// the sidecar has another.
	c.Source = m.client.addr.Port(familyOf(to), to.Port())
	got, err := c.call(t.Context(), to.String())
	if err != nil || got.Client != c.Source || got.Peer != "" {
		about := []question{m.client.out(to)}
		if to.Addr() == m.server.addr.In(familyOf(to)) {
			about = append(about, m.server.inward(to))
		}
		m.errorf(t, about, "%s calls %s: got %+v, %v", c.Source, to, got, err)
	}
}
