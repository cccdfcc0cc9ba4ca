package tests

import (
	"net/netip"
	"testing"

	"github.com/meshtables/meshtables/tests/lab"
)

// nodeProxyMark is what the proxy of ambient mode marks its packets with, in its bits.
const nodeProxyMark = 0x539

// nodeProxy is the proxy of ambient mode. It is root, so that it can mark its packets.
func nodeProxy() speaker {
	s := user(0, 0)
	s.mark = nodeProxyMark
	return s
}

// nodeListeners are those of the node's proxy: this process, outside of the pod, opens sockets
// inside it, as root and marked.
func nodeListeners() listeners {
	by := lab.Socket{Mark: nodeProxyMark}
	return listeners{outboundPort, inboundPort, dnsPort, by, by}
}

// both returns the addresses of both families as an option takes them.
func both(a lab.Addr) string { return a.V4.String() + "," + a.V6.String() }

func TestTrafficAmbient(t *testing.T) {
	scenarios := []scenario{
		{
			name: "default",
			args: []string{"--dataplane-mode=ambient"},
			checks: []check{
				{name: "inbound", from: peer(), to: to(lab.PodAddr, 8080), want: proxyIn},
				{name: "inbound, from far away", from: peer().at(lab.Outside), to: to(lab.PodAddr, 22), want: proxyIn},
				{name: "tunnel", from: peer(), to: to(lab.PodAddr, 15008), want: pods},
				{name: "outbound", from: app(), to: to(lab.Outside, 80), want: proxyOut},
				{name: "outbound, of a sidecar's user", from: user(1337, 1337), to: to(lab.Outside, 80), want: proxyOut},
				{name: "outbound, proxy", from: nodeProxy(), to: to(lab.Outside, 80), want: peers},
				{name: "outbound, proxy's mark in other bits too", from: speaker{from: inPod, mark: 0x1000 | nodeProxyMark}, to: to(lab.Outside, 80), want: peers},
				{name: "outbound, other mark", from: speaker{from: inPod, mark: 7}, to: to(lab.Outside, 80), want: proxyOut},
				{name: "DNS by UDP", from: app(), to: to(lab.Resolver, 53), udp: true, want: peers},
				{name: "DNS by TCP", from: app(), to: to(lab.Resolver, 53), want: proxyOut},
				{name: "application by loopback", from: app(), to: to(lab.Loopback, 8080), want: pods},
				{name: "application by the pod's address", from: app(), to: to(lab.PodAddr, 8080), want: pods},
				{name: "proxy by the pod's address", from: nodeProxy(), to: to(lab.PodAddr, 8080), want: pods},
			},
		},
		{
			name: "health probes",
			args: []string{"--dataplane-mode=ambient", "--host-probe-address=" + both(lab.Outside)},
			checks: []check{
				{name: "probe", from: peer().at(lab.Outside), to: to(lab.PodAddr, 8080), want: pods},
				{name: "other client", from: peer().at(lab.OtherOutside), to: to(lab.PodAddr, 8080), want: proxyIn},
				{name: "to the prober", from: app(), to: to(lab.Outside, 80), want: peers},
			},
		},
		{
			name: "DNS",
			args: []string{"--dataplane-mode=ambient", "--redirect-dns"},
			checks: []check{
				{name: "UDP", from: app(), to: to(lab.Resolver, 53), udp: true, want: proxyDNS},
				{name: "TCP", from: app(), to: to(lab.Resolver, 53), want: proxyDNS},
				{name: "UDP, other server", from: app(), to: to(lab.Outside, 53), udp: true, want: proxyDNS},
				{name: "UDP, other port", from: app(), to: to(lab.Resolver, 5353), udp: true, want: peers},
				{name: "UDP, proxy", from: nodeProxy(), to: to(lab.Resolver, 53), udp: true, want: peers},
				{name: "TCP, proxy", from: nodeProxy(), to: to(lab.Resolver, 53), want: peers},
			},
		},
		{
			name: "gateway",
			args: []string{"--dataplane-mode=ambient", "--included-ports="},
			checks: []check{
				{name: "inbound", from: peer(), to: to(lab.PodAddr, 8080), want: pods},
				{name: "outbound", from: app(), to: to(lab.Outside, 80), want: proxyOut},
			},
		},
		{
			name: "exclusions",
			args: []string{"--dataplane-mode=ambient", "--redirect-dns", "--excluded-ports=22", "--excluded-source-cidrs=" + both(lab.Outside),
				"--excluded-outbound-ports=3306", "--excluded-cidrs=" + both(lab.OtherOutside)},
			checks: []check{
				{name: "inbound port", from: peer(), to: to(lab.PodAddr, 22), want: pods},
				{name: "client", from: peer().at(lab.Outside), to: to(lab.PodAddr, 8080), want: pods},
				{name: "inbound", from: peer(), to: to(lab.PodAddr, 8080), want: proxyIn},
				{name: "outbound port", from: app(), to: to(lab.Outside, 3306), want: peers},
				{name: "destination", from: app(), to: to(lab.OtherOutside, 80), want: peers},
				{name: "DNS of the destination", from: app(), to: to(lab.OtherOutside, 53), want: proxyDNS},
				{name: "outbound", from: app(), to: to(lab.Outside, 80), want: proxyOut},
			},
		},
		{
			name: "inclusions",
			args: []string{"--dataplane-mode=ambient", "--included-ports=8000-8010,15000-15010", "--included-cidrs=" + both(lab.OtherOutside),
				"--included-outbound-ports=443"},
			checks: []check{
				{name: "inbound port", from: peer(), to: to(lab.PodAddr, 8005), want: proxyIn},
				{name: "other inbound port", from: peer(), to: to(lab.PodAddr, 9090), want: pods},
				{name: "tunnel", from: peer(), to: to(lab.PodAddr, 15008), want: pods},
				{name: "destination", from: app(), to: to(lab.OtherOutside, 80), want: proxyOut},
				{name: "destination, proxy", from: nodeProxy(), to: to(lab.OtherOutside, 80), want: peers},
				{name: "other destination", from: app(), to: to(lab.Outside, 80), want: peers},
				{name: "outbound port", from: app(), to: to(lab.Outside, 443), want: proxyOut},
				{name: "outbound port, proxy", from: nodeProxy(), to: to(lab.Outside, 443), want: peers},
			},
		},
		{
			name: "interface",
			args: []string{"--dataplane-mode=ambient", "--excluded-interfaces=net1"},
			extend: func(t *testing.T, p pod) {
				t.Helper()
				if err := p.AddNet1(); err != nil {
					t.Fatal(err)
				}
			},
			checks: []check{
				{name: "inbound, excluded", from: peer(), to: to(lab.PodNet1Addr, 8080), want: pods},
				{name: "outbound, excluded", from: app(), to: to(lab.PeerNet1Addr, 80), want: peers},
				{name: "inbound", from: peer(), to: to(lab.PodAddr, 8080), want: proxyIn},
				{name: "outbound", from: app(), to: to(lab.Outside, 80), want: proxyOut},
			},
		},
		{
			name: "virtual machine",
			args: []string{"--dataplane-mode=ambient", "--virtual-interfaces=virbr0"},
			extend: func(t *testing.T, p pod) {
				t.Helper()
				if err := p.AddVM(t.Context()); err != nil {
					t.Fatal(err)
				}
			},
			checks: []check{
				{name: "outbound of the machine", from: vm(), to: to(lab.Outside, 80), want: proxyOut},
				{name: "UDP of the machine", from: vm(), to: to(lab.Outside, 80), udp: true, want: peers},
				{name: "inbound to the machine", from: peer(), to: to(lab.VMAddr, 8080), want: proxyIn},
				{name: "inbound to the pod", from: peer(), to: to(lab.PodAddr, 8080), want: proxyIn},
				{name: "outbound of the pod", from: app(), to: to(lab.Outside, 80), want: proxyOut},
			},
		},
	}
	for i := range scenarios {
		scenarios[i].proxy = nodeListeners()
	}
	runScenarios(t, scenarios)
}

// The proxy talks to the application as the client, and the answers find the way back to it.
func TestTrafficAmbientConnections(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, backend string) {
		p := newPod(t, backend)
		nodeListeners().serve(t, p)
		for _, f := range lab.Families() {
			serve(t, p, to(lab.PodAddr, 8080), false, f)
		}
		apply(t, p, "--dataplane-mode=ambient")
		for _, f := range lab.Families() {
			t.Run(string(f), func(t *testing.T) {
				conn := dial(t, p.Peer, lab.Client{}, lab.PodAddr.Port(f, 8080), proxyIn)
				exchange(t, conn)

				// The port differs, or the two connections were one.
				asClient := lab.Client{
					Socket: lab.Socket{As: nodeProxy().as, Transparent: true, Mark: nodeProxyMark},
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
