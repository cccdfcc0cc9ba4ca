package tests

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/tests/lab"
)

// The proxy gets inbound connections with both addresses as they were: each check
// that ends at proxyIn compares them.
func TestTrafficTPROXY(t *testing.T) {
	runScenarios(t, []scenario{
		{
			name:        "every port",
			args:        []string{"-m", "TPROXY"},
			transparent: true,
			checks: []check{
				{name: "8080", from: peer(), to: to(lab.PodAddr, 8080), want: proxyIn},
				{name: "22", from: peer(), to: to(lab.PodAddr, 22), want: proxyIn},
				{name: "from far away", from: peer().at(lab.Outside), to: to(lab.PodAddr, 8080), want: proxyIn},
				{name: "excluded", from: peer(), to: to(lab.PodAddr, 15021), want: pods},
				// The tunnel port is an exception of nat, as in the reference.
				{name: "tunnel", from: peer(), to: to(lab.PodAddr, 15008), want: proxyIn},
				{name: "outbound", from: app(), to: to(lab.Outside, 80), want: proxyOut},
				{name: "outbound, proxy", from: transparentProxy(), to: to(lab.Outside, 80), want: peers},
				{name: "application by loopback", from: app(), to: to(lab.Loopback, 8080), want: pods},
				{name: "application by the pod's address", from: app(), to: to(lab.PodAddr, 8080), want: pods},
				{name: "proxy by loopback", from: transparentProxy(), to: to(lab.Loopback, 8080), want: pods},
				{name: "proxy by the pod's address", from: transparentProxy(), to: to(lab.PodAddr, 8080), want: proxyIn},
				{name: "proxy from the passthrough address", from: transparentProxy().at(passthrough), to: to(lab.PodAddr, 8080), want: pods},
			},
		},
		{
			name:        "excluded ports",
			args:        []string{"-m", "TPROXY", "-d", "22,8000-8010"},
			transparent: true,
			checks: []check{
				{name: "excluded", from: peer(), to: to(lab.PodAddr, 22), want: pods},
				{name: "in range", from: peer(), to: to(lab.PodAddr, 8010), want: pods},
				{name: "above range", from: peer(), to: to(lab.PodAddr, 8011), want: proxyIn},
			},
		},
		{
			name:        "listed ports",
			args:        []string{"-m", "TPROXY", "-b", "80,8000-8010"},
			transparent: true,
			checks: []check{
				{name: "listed", from: peer(), to: to(lab.PodAddr, 80), want: proxyIn},
				{name: "in range", from: peer(), to: to(lab.PodAddr, 8010), want: proxyIn},
				{name: "other", from: peer(), to: to(lab.PodAddr, 8011), want: pods},
			},
		},
		{
			name:        "off",
			args:        []string{"-m", "TPROXY", "-b", ""},
			transparent: true,
			checks: []check{
				{name: "inbound", from: peer(), to: to(lab.PodAddr, 8080), want: pods},
				{name: "outbound", from: app(), to: to(lab.Outside, 80), want: proxyOut},
			},
		},
		{
			name:        "other mark and table",
			args:        []string{"-m", "TPROXY", "-t", "2337", "-r", "134"},
			transparent: true,
			checks: []check{
				{name: "inbound", from: peer(), to: to(lab.PodAddr, 8080), want: proxyIn},
			},
		},
	})
}

// A connection that TPROXY took goes on after its first packet, and its answers
// find the way back, also when the proxy talks to the application as the client.
func TestTrafficTPROXYConnections(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, backend string) {
		p := newPod(t, backend)
		serveProxy(t, p, true)
		for _, f := range lab.Families() {
			serve(t, p, to(lab.PodAddr, 8080), false, f)
		}
		apply(t, p, "-m", "TPROXY")
		for _, f := range lab.Families() {
			t.Run(string(f), func(t *testing.T) {
				conn := dial(t, p.Peer, lab.Client{}, lab.PodAddr.Port(f, 8080), proxyIn)
				exchange(t, conn)

				// Envoy's original source filter: the client's address and the
				// mark. The port differs, or the two connections were one.
				asClient := lab.Client{
					Socket: lab.Socket{As: transparentProxy().as, Transparent: true, Mark: 1337},
					Source: netip.AddrPortFrom(conn.Local().Addr(), conn.Local().Port()^1),
				}
				onward := dial(t, p.Pod, asClient, lab.PodAddr.Port(f, 8080), pods)
				if onward.Answer.Client != asClient.Source {
					t.Errorf("the application sees client %s, want %s", onward.Answer.Client, asClient.Source)
				}
				exchange(t, onward)
			})
		}
	})
}

// dial connects to a server, which must be the one named.
func dial(t *testing.T, from *lab.Namespace, c lab.Client, to netip.AddrPort, want string) *lab.Conn {
	t.Helper()
	conn, err := from.DialTCP(t.Context(), c, to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := wantServer(conn.Answer, want); err != nil {
		t.Fatal(err)
	}
	return conn
}

// exchange sends some packets of several sizes both ways.
func exchange(t *testing.T, conn *lab.Conn) {
	t.Helper()
	for _, size := range []int{1, 1000, 30000, 1} {
		if err := conn.Echo(strings.Repeat("x", size)); err != nil {
			t.Fatal(err)
		}
	}
}
