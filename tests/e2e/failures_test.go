package e2e

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/tests/lab"
)

// Whatever a story wants of a connection, what it prints when that goes wrong has
// explain's answer. Here it all goes wrong: nobody listens but on a port where nobody
// should, and nothing is on the wire.
func TestFailuresAreExplained(t *testing.T) {
	forEachBackend(t, istio, func(t testing.TB, m *mesh) {
		m.server.serve(t, adminPort)
		m.join(t)
		for _, c := range wrongConnections(m) {
			printed := failureOf(t, t.Context(), c.check)
			for _, want := range append(c.answers, "\n\nthe client's sidecar:\n", "\n\nthe server's sidecar:\n") {
				if !strings.Contains(printed, want) {
					t.Errorf("%s: printed\n%s\nwithout\n%s", c.name, printed, want)
				}
			}
		}
	})
}

// wrongConnection is a check that fails, and what has to be printed then.
type wrongConnection struct {
	name    string
	check   func(t testing.TB)
	answers []string
}

func wrongConnections(m *mesh) []wrongConnection {
	web, admin := m.server.addr.Port(lab.IPv4, webPort), m.server.addr.Port(lab.IPv4, adminPort)
	status, excluded := m.server.addr.Port(lab.IPv4, statusPort), m.server.addr.Port(lab.IPv4, excludedPort)
	out, in := m.client.out(web).answer("redirected to port 15001"), m.server.inward(web).answer("redirected to port 15006")
	past := m.server.inward(excluded).answer("bypasses the proxy")
	about := []question{m.client.out(web), m.server.inward(web)}
	return []wrongConnection{
		{"mesh call", func(t testing.TB) {
			m.wantMeshCall(t, meshCall{from: m.client, called: web, to: m.server, at: web})
		}, []string{out, m.client.proxyOut(web).answer("bypasses the proxy"), in}},
		{"plain call", func(t testing.TB) { m.wantPlainCall(t, web, m.client.addr.V4) }, []string{out, in}},
		{"own address", func(t testing.TB) { m.wantOwnAddressIsDirect(t) }, []string{
			m.client.out(m.client.addr.Port(lab.IPv4, webPort)).answer("bypasses the proxy"),
			m.client.out(m.client.addr.Port(lab.IPv6, webPort)).answer("bypasses the proxy"),
		}},
		{"no handshake", func(t testing.TB) { m.wantNoHandshake(t, admin) }, []string{
			m.client.out(admin).answer("redirected to port 15001"), m.server.inward(admin).answer("redirected to port 15006"),
		}},
		{"status", func(t testing.TB) { m.wantStatus(t, web, 404) }, []string{out, in}},
		{"refused", func(t testing.TB) { m.wantRefused(t, excluded, "/") }, []string{past}},
		{"certificate required", func(t testing.TB) { m.wantCertificateRequired(t, excluded) }, []string{past}},
		{"past the sidecar", func(t testing.TB) { m.wantPastTheSidecar(t, lab.IPv4, excludedPort) }, []string{past}},
		{"out past the sidecar", func(t testing.TB) { m.wantOutPastTheSidecar(t, web) }, []string{out, in}},
		{"probe", func(t testing.TB) { m.wantProbe(t, web, "/healthz", 0) }, []string{in}},
		{"agent's probe", func(t testing.TB) { m.wantProbe(t, status, "/app-health/livez", 0) }, []string{
			m.server.inward(status).answer("bypasses the proxy"), m.server.agentOut().answer("bypasses the proxy"),
		}},
		{"TCP probe", func(t testing.TB) { m.wantTCPProbe(t, excluded, nil) }, []string{past}},
		{"TLS on the wire", func(t testing.TB) { m.wantTLS(t, nil, web) }, []string{out, in}},
		{"plain text on the wire", func(t testing.TB) { m.wantPlain(t, nil, web, about) }, []string{out, in}},
		{"load", func(t testing.TB) {
			(&load{caller: m.kubelet(), to: excluded, about: []question{m.server.inward(excluded)}}).start(t, m)
		}, []string{past}},
	}
}

// A story whose time is over ends, and what it was waiting for is explained.
func TestStoryEndsInTime(t *testing.T) {
	forEachBackend(t, istio, func(t testing.TB, m *mesh) {
		m.server.serve(t, webPort)
		m.join(t)
		web := m.server.addr.Port(lab.IPv4, webPort)
		l := &load{caller: m.client.application(), to: web, about: []question{m.client.out(web)}}
		over, end := context.WithCancel(t.Context())
		printed := failureOf(t, over, func(t testing.TB) {
			l.start(t, m)
			end()
			l.more(t, m)
		})
		if want := l.about[0].answer("redirected to port 15001"); !strings.Contains(printed, want) || !strings.Contains(printed, "context canceled") {
			t.Errorf("printed\n%s\nwithout\n%s", printed, want)
		}
	})
}

// answer returns the question as it is printed, and how the answer begins.
func (q question) answer(verdict string) string {
	return fmt.Sprintf("\n\nin the %s's pod: meshtables explain %s --live\n%s\n", q.in.name, strings.Join(q.words, " "), verdict)
}

// recorder is a test that keeps its failure to itself.
type recorder struct {
	testing.TB
	ctx  context.Context
	text strings.Builder
}

func (r *recorder) Context() context.Context { return r.ctx }

func (r *recorder) Error(args ...any) { fmt.Fprintln(&r.text, args...) }

// FailNow ends the goroutine, as that of a test does.
func (r *recorder) FailNow() { runtime.Goexit() }

// failureOf returns what a check prints that fails.
func failureOf(t testing.TB, ctx context.Context, check func(t testing.TB)) string {
	t.Helper()
	r := &recorder{TB: t, ctx: ctx}
	done := make(chan struct{})
	go func() {
		defer close(done)
		check(r)
	}()
	<-done
	return r.text.String()
}
