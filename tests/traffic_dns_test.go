package tests

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"github.com/meshtables/meshtables/tests/lab"
)

func TestTrafficDNS(t *testing.T) {
	servers := []check{
		{name: "UDP", from: app(), to: to(lab.Resolver, 53), udp: true, want: proxyDNS},
		{name: "TCP", from: app(), to: to(lab.Resolver, 53), want: proxyDNS},
		{name: "UDP, other port", from: app(), to: to(lab.Resolver, 5353), udp: true, want: peers},
		{name: "UDP, other server", from: app(), to: to(lab.Outside, 53), udp: true, want: peers},
		{name: "TCP, other server", from: app(), to: to(lab.Outside, 53), want: proxyOut},
		{name: "UDP, proxy", from: proxy(), to: to(lab.Resolver, 53), udp: true, want: peers},
		{name: "TCP, proxy", from: proxy(), to: to(lab.Resolver, 53), want: peers},
		{name: "UDP, proxy's user", from: user(1337, 5000), to: to(lab.Resolver, 53), udp: true, want: peers},
		{name: "UDP, proxy's group", from: user(5000, 1337), to: to(lab.Resolver, 53), udp: true, want: peers},
		{name: "TCP, proxy's group", from: user(5000, 1337), to: to(lab.Resolver, 53), want: peers},
		{name: "not DNS", from: app(), to: to(lab.Outside, 80), want: proxyOut},
	}
	runScenarios(t, []scenario{
		{name: "servers of resolv.conf", args: []string{"--redirect-dns"}, checks: servers},
		{name: "TPROXY", args: []string{"--redirect-dns", "-m", "TPROXY"}, transparent: true, checks: servers},
		{
			name:        "IPv4 server only",
			args:        []string{"--redirect-dns"},
			nameServers: []netip.Addr{lab.Resolver.V4},
			checks: []check{
				{name: "UDP", from: app(), to: to(lab.Resolver, 53), udp: true, want: proxyDNS, want6: peers},
				{name: "TCP", from: app(), to: to(lab.Resolver, 53), want: proxyDNS, want6: proxyOut},
			},
		},
		{
			name: "all servers",
			args: []string{"--redirect-dns", "--capture-all-dns"},
			checks: []check{
				{name: "UDP", from: app(), to: to(lab.Resolver, 53), udp: true, want: proxyDNS},
				{name: "TCP", from: app(), to: to(lab.Resolver, 53), want: proxyDNS},
				{name: "UDP, other server", from: app(), to: to(lab.Outside, 53), udp: true, want: proxyDNS},
				{name: "TCP, other server", from: app(), to: to(lab.Outside, 53), want: proxyDNS},
				{name: "UDP, other port", from: app(), to: to(lab.Outside, 5353), udp: true, want: peers},
				{name: "UDP, proxy", from: proxy(), to: to(lab.Outside, 53), udp: true, want: peers},
				{name: "TCP, proxy", from: proxy(), to: to(lab.Outside, 53), want: peers},
				{name: "UDP, server in the pod", from: app(), to: to(lab.Loopback, 53), udp: true, want: proxyDNS},
				{name: "TCP, server in the pod", from: app(), to: to(lab.Loopback, 53), want: proxyDNS},
				{name: "not DNS", from: app(), to: to(lab.Outside, 80), want: proxyOut},
			},
		},
		{
			name: "included groups",
			args: []string{"--redirect-dns"},
			env:  []string{"ISTIO_OUTBOUND_OWNER_GROUPS=101"},
			checks: []check{
				{name: "UDP, included", from: user(5000, 101), to: to(lab.Resolver, 53), udp: true, want: proxyDNS},
				{name: "TCP, included", from: user(5000, 101), to: to(lab.Resolver, 53), want: proxyDNS},
				{name: "UDP, other", from: app(), to: to(lab.Resolver, 53), udp: true, want: peers},
				{name: "TCP, other", from: app(), to: to(lab.Resolver, 53), want: peers},
			},
		},
		{
			name: "excluded port 53",
			args: []string{"--redirect-dns", "-o", "53"},
			checks: []check{
				{name: "UDP", from: app(), to: to(lab.Resolver, 53), udp: true, want: peers},
				{name: "TCP", from: app(), to: to(lab.Resolver, 53), want: peers},
			},
		},
	})
}

// forwardDNS makes the proxy's DNS server: it asks the real one, as who, and adds
// a word to its answers.
func forwardDNS(t *testing.T, p pod, who lab.Identity, f lab.Family) {
	t.Helper()
	how := lab.Socket{As: who}
	forward := func(query []byte, _ netip.AddrPort) []byte {
		answer, err := p.Pod.ExchangeUDP(t.Context(), lab.Client{Socket: how}, lab.Resolver.Port(f, 53), query)
		if err != nil {
			return []byte(err.Error())
		}
		return append([]byte("forwarded "), answer...)
	}
	if err := p.Pod.HandleUDP(how, lab.Loopback.Port(f, dnsPort), forward); err != nil {
		t.Fatal(err)
	}
}

// Answers come back to the port that asked, from the address that was asked,
// however many are under way.
func TestTrafficDNSConcurrent(t *testing.T) {
	t.Parallel()
	proxies := map[string]lab.Identity{
		"proxy's user":  {UID: 1337, GID: 5001},
		"proxy's group": {UID: 5001, GID: 1337},
	}
	options := map[string][]string{
		"resolv.conf": {"--redirect-dns"},
		"all":         {"--redirect-dns", "--capture-all-dns"},
	}
	forEachBackend(t, func(t *testing.T, backend string) {
		for proxy, who := range proxies {
			for option, args := range options {
				t.Run(proxy+", "+option, func(t *testing.T) {
					p := newPod(t, backend)
					for _, f := range lab.Families() {
						forwardDNS(t, p, who, f)
						at := lab.Resolver.Port(f, 53)
						echo := func(query []byte, _ netip.AddrPort) []byte { return query }
						if err := p.Peer.HandleUDP(lab.Socket{}, at, echo); err != nil {
							t.Fatal(err)
						}
					}
					apply(t, p, args...)
					for _, f := range lab.Families() {
						askMany(t, p, f)
					}
				})
			}
		}
	})
}

// askMany sends 500 queries to the name server from 50 goroutines.
func askMany(t *testing.T, p pod, f lab.Family) {
	t.Helper()
	client := lab.Client{Socket: lab.Socket{As: app().as}}
	var clients sync.WaitGroup
	for i := range 50 {
		clients.Go(func() {
			for j := range 10 {
				query := fmt.Sprintf("%s query %d of client %d", f, j, i)
				answer, err := p.Pod.ExchangeUDP(t.Context(), client, lab.Resolver.Port(f, 53), []byte(query))
				if err != nil {
					t.Errorf("%s: %v", query, err)
					return
				}
				if string(answer) != "forwarded "+query {
					t.Errorf("%s: got answer %q", query, answer)
				}
			}
		})
	}
	clients.Wait()
}

// The proxy asks the same server as the application, and may do so from a port
// that the application has just asked from. Connection tracking would take the
// proxy's query for one more of the application's and send it back to the proxy,
// if the two were not in different zones.
func TestTrafficDNSFromTheSamePort(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, backend string) {
		p := newPod(t, backend)
		serveProxy(t, p, false)
		for _, f := range lab.Families() {
			serve(t, p, to(lab.Resolver, 53), true, f)
		}
		apply(t, p, "--redirect-dns")
		for _, f := range lab.Families() {
			steps := []struct {
				who  speaker
				want string
			}{{app(), proxyDNS}, {proxy(), peers}, {app(), proxyDNS}, {transparentProxy(), peers}}
			for _, step := range steps {
				client := lab.Client{
					Socket: lab.Socket{As: step.who.as},
					Source: netip.AddrPortFrom(lab.PodAddr.In(f), 40053),
				}
				answer, err := p.Pod.AskUDP(t.Context(), client, lab.Resolver.Port(f, 53))
				if err == nil {
					err = wantServer(answer, step.want)
				}
				if err != nil {
					t.Errorf("%s: %s: %v", f, step.who.as, err)
				}
			}
		}
	})
}
