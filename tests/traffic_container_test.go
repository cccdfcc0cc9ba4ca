package tests

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/tests/lab"
)

// addContainer puts a container at a bridge of the pod, and has the proxy answer queries at the
// bridge's address too, as with DNS_PROXY_ADDR=[::]:15053.
func addContainer(t *testing.T, p pod, bridge string) {
	t.Helper()
	if err := p.AddContainer(t.Context(), bridge); err != nil {
		t.Fatal(err)
	}
	answerAt(t, p, lab.ContainerGateway)
}

// answerAt has the proxy answer queries at an address of the pod too.
func answerAt(t *testing.T, p pod, address lab.Addr) {
	t.Helper()
	by := lab.Socket{As: proxy().as}
	for _, f := range lab.Families() {
		at := address.Port(f, dnsPort)
		if err := p.Pod.ServeTCP(proxyDNS, by, at); err != nil {
			t.Fatal(err)
		}
		if err := p.Pod.ServeUDP(proxyDNS, by, at); err != nil {
			t.Fatal(err)
		}
	}
}

// withContainer is for scenarios.
func withContainer(bridge string) func(*testing.T, pod) {
	return func(t *testing.T, p pod) { addContainer(t, p, bridge) }
}

// A container that Docker runs in the pod comes out at a bridge. Its connections are outbound
// ones, and so are its DNS queries, if that is asked for.
func TestTrafficOfContainer(t *testing.T) {
	captured := []check{
		{name: "outbound", from: container(), to: to(lab.Outside, 80), want: proxyOut},
		{name: "UDP", from: container(), to: to(lab.Outside, 80), udp: true, want: peers},
		{name: "inbound to the pod", from: peer(), to: to(lab.PodAddr, 8080), want: proxyIn},
		{name: "inbound to the container", from: peer(), to: to(lab.ContainerAddr, 8080), want: proxyIn},
		{name: "outbound of the pod", from: app(), to: to(lab.Outside, 80), want: proxyOut},
	}
	// What does not match the names comes in like any other client's.
	asClient := []check{
		{name: "outbound", from: container(), to: to(lab.Outside, 80), want: proxyIn},
		{name: "DNS", from: container(), to: to(lab.Resolver, 53), udp: true, want: peers},
	}
	resolvConf := []check{
		{name: "DNS over UDP", from: container(), to: to(lab.Resolver, 53), udp: true, want: proxyDNS},
		{name: "DNS over TCP", from: container(), to: to(lab.Resolver, 53), want: proxyDNS},
		{name: "UDP, other server", from: container(), to: to(lab.Outside, 53), udp: true, want: peers},
		{name: "TCP, other server", from: container(), to: to(lab.Outside, 53), want: proxyOut},
		{name: "UDP, other port", from: container(), to: to(lab.Resolver, 5353), udp: true, want: peers},
		{name: "DNS of the pod over UDP", from: app(), to: to(lab.Resolver, 53), udp: true, want: proxyDNS},
		{name: "DNS of the pod over TCP", from: app(), to: to(lab.Resolver, 53), want: proxyDNS},
		{name: "the proxy's query", from: proxy(), to: to(lab.Resolver, 53), udp: true, want: peers},
		{name: "not DNS", from: container(), to: to(lab.Outside, 80), want: proxyOut},
	}
	everyServer := []check{
		{name: "UDP, other server", from: container(), to: to(lab.Outside, 53), udp: true, want: proxyDNS},
		{name: "TCP, other server", from: container(), to: to(lab.Outside, 53), want: proxyDNS},
		{name: "UDP, server in the pod", from: container(), to: to(lab.ContainerGateway, 53), udp: true, want: proxyDNS},
		{name: "UDP, other port", from: container(), to: to(lab.Outside, 5353), udp: true, want: peers},
		{name: "the proxy's query", from: proxy(), to: to(lab.Outside, 53), udp: true, want: peers},
	}
	runScenarios(t, []scenario{
		{name: "pattern", args: []string{"-k", "docker*"}, extend: withContainer("docker0"), checks: captured},
		{name: "pattern of iptables", args: []string{"-k", "tap0,dock+"}, extend: withContainer("docker0"), checks: captured},
		{name: "auto, usual name", args: []string{"-k", "auto"}, extend: withContainer("br-0123456789ab"), checks: captured},
		{name: "auto, other name", args: []string{"-k", "auto"}, extend: withContainer("lab0"), checks: captured},
		{name: "other pattern", args: []string{"-k", "docker1*,br-*"}, extend: withContainer("docker0"), checks: asClient},
		{
			name: "DNS that is left alone", args: []string{"-k", "docker*", "--redirect-dns"}, extend: withContainer("docker0"),
			checks: []check{{name: "UDP", from: container(), to: to(lab.Resolver, 53), udp: true, want: peers}},
		},
		{
			name: "DNS", args: []string{"-k", "docker*,tap*", "--redirect-dns", "--redirect-virtual-dns"}, extend: withContainer("docker0"),
			checks: resolvConf,
		},
		{
			name: "DNS of an IPv4 server only", args: []string{"-k", "auto", "--redirect-dns", "--redirect-virtual-dns"}, extend: withContainer("docker0"),
			nameServers: []netip.Addr{lab.Resolver.V4},
			checks: []check{
				{name: "UDP", from: container(), to: to(lab.Resolver, 53), udp: true, want: proxyDNS, want6: peers},
				{name: "TCP", from: container(), to: to(lab.Resolver, 53), want: proxyDNS, want6: proxyOut},
			},
		},
		{
			name: "all DNS", args: []string{"-k", "auto", "--redirect-dns", "--redirect-virtual-dns", "--capture-all-dns"}, extend: withContainer("docker0"),
			checks: everyServer,
		},
		{
			name: "DNS with TPROXY", args: []string{"-k", "virbr*", "-m", "TPROXY", "--redirect-dns", "--redirect-virtual-dns"}, transparent: true,
			extend: func(t *testing.T, p pod) {
				t.Helper()
				if err := p.AddVM(t.Context()); err != nil {
					t.Fatal(err)
				}
				answerAt(t, p, lab.VMGateway)
			},
			checks: []check{
				{name: "DNS over UDP", from: vm(), to: to(lab.Resolver, 53), udp: true, want: proxyDNS},
				{name: "DNS over TCP", from: vm(), to: to(lab.Resolver, 53), want: proxyDNS},
				{name: "UDP, other server", from: vm(), to: to(lab.Outside, 53), udp: true, want: peers},
				{name: "inbound to the pod", from: peer(), to: to(lab.PodAddr, 53), want: proxyIn},
			},
		},
		{
			name: "DNS in ambient mode", args: []string{"--dataplane-mode=ambient", "-k", "docker*", "--redirect-dns", "--redirect-virtual-dns"},
			extend: withContainer("docker0"), proxy: nodeListeners(),
			checks: append(captured[:2:2],
				check{name: "UDP, query", from: container(), to: to(lab.Outside, 53), udp: true, want: proxyDNS},
				check{name: "TCP, query", from: container(), to: to(lab.Outside, 53), want: proxyDNS},
				check{name: "UDP, other port", from: container(), to: to(lab.Outside, 5353), udp: true, want: peers}),
		},
	})
}

// masquerade gives what containers send the pod's address, as Docker does.
func masquerade(t *testing.T, p pod) {
	t.Helper()
	for _, f := range lab.Families() {
		var out bytes.Buffer
		err := p.Pod.Run(t.Context(), lab.Command{
			Path:   commandOf(p.backend, iptables.FamilyOf(lab.ContainerAddr.In(f))),
			Args:   []string{"-t", "nat", "-A", "POSTROUTING", "-s", lab.ContainerAddr.In(f).String(), "!", "-o", "docker0", "-j", "MASQUERADE"},
			Stdout: &out, Stderr: &out,
		})
		if err != nil {
			t.Fatalf("%v\n%s", err, &out)
		}
	}
}

// Where the pod masquerades, connection tracking has to find the answers to what it has changed:
// that is where zones matter. The container comes after the rules, as it does in a pod.
func TestTrafficDNSOfContainer(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"sidecar":       {"--redirect-dns"},
		"sidecar, all":  {"--redirect-dns", "--capture-all-dns"},
		"sidecar, auto": {"--redirect-dns", "--virtual-interfaces=auto"},
		"ambient":       {"--dataplane-mode=ambient", "--redirect-dns"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			forEachBackend(t, func(t *testing.T, backend string) {
				p := newPod(t, backend)
				if name == "ambient" {
					nodeListeners().serve(t, p)
				} else {
					serveProxy(t, p, false)
				}
				apply(t, p, append([]string{"--virtual-interfaces=docker*", "--redirect-virtual-dns"}, args...)...)
				addContainer(t, p, "docker0")
				masquerade(t, p)
				asksServers(t, p)
				// Nothing of this depends on when the rules came.
				cleanup(t, p)
				apply(t, p, append([]string{"--virtual-interfaces=docker*", "--redirect-virtual-dns"}, args...)...)
				asksServers(t, p)
			})
		})
	}
}

// asksServers has the container ask a name server, and another server if that is not captured.
func asksServers(t *testing.T, p pod) {
	t.Helper()
	for _, f := range lab.Families() {
		// The same port again and again: it must not matter which zone it was in before.
		client := lab.Client{Source: lab.ContainerAddr.Port(f, 40053)}
		for range 3 {
			answer, err := p.Container.AskUDP(t.Context(), client, lab.Resolver.Port(f, 53))
			if err == nil {
				err = wantServer(answer, proxyDNS)
			}
			if err == nil && answer.Client != client.Source {
				t.Errorf("%s: the proxy sees client %s, want %s", f, answer.Client, client.Source)
			}
			if err != nil {
				t.Errorf("%s: UDP: %v", f, err)
			}
		}
		conn, err := p.Container.DialTCP(t.Context(), lab.Client{}, lab.Resolver.Port(f, 53))
		if err == nil {
			err = wantServer(conn.Answer, proxyDNS)
			conn.Close()
		}
		if err != nil {
			t.Errorf("%s: TCP: %v", f, err)
		}
	}
}

// Without --redirect-virtual-dns the rules are the reference's, and answers to masqueraded queries
// get lost: they come in a zone in which connection tracking does not know them. The warning says
// so, and so does explain.
func TestTrafficDNSOfContainerIsLost(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, backend string) {
		p := newPod(t, backend)
		serveProxy(t, p, false)
		addContainer(t, p, "docker0")
		masquerade(t, p)
		at := to(lab.Resolver, 53)
		serve(t, p, at, true, lab.IPv4)
		once := lab.Client{Timeout: 300 * time.Millisecond, Once: true}
		if answer, err := p.Container.AskUDP(t.Context(), lab.Client{}, at.addr.Port(lab.IPv4, 53)); err != nil || answer.Server != peers {
			t.Errorf("without rules: %+v, %v", answer, err)
		}
		_, messages := run(t, p, "--backend="+backend, "--virtual-interfaces=docker*", "--redirect-dns")
		if !strings.Contains(messages, "DNS over UDP from there gets no answer where the pod masquerades it") {
			t.Errorf("no warning: %s", messages)
		}
		if answer, err := p.Container.AskUDP(t.Context(), once, at.addr.Port(lab.IPv4, 53)); err == nil {
			t.Errorf("there is an answer of %+v", answer)
		}
		wantAnswer(t, p, "because DNS queries that come in via docker0 are not captured: --redirect-virtual-dns is not set",
			"explain", "in", at.addr.Port(lab.IPv4, 53).String(), "--proto=udp", "--in-interface=docker0", "--live")
	})
}

// The proxy that listens at loopback addresses only does not get what comes in by an interface.
// Whoever looks at sockets says so, and says no more once it listens there.
func TestUnheardContainer(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, backend string) {
		p := newPod(t, backend)
		serveProxy(t, p, false)
		if err := p.AddContainer(t.Context(), "docker0"); err != nil {
			t.Fatal(err)
		}
		apply(t, p, "--virtual-interfaces=docker*", "--redirect-dns", "--redirect-virtual-dns")
		const mend = `set DNS_PROXY_ADDR: "[::]:15053" among the proxyMetadata of the pod's proxy (annotation proxy.istio.io/config)`
		for _, unheard := range []bool{true, false} {
			_, verified := run(t, p, "verify", "--backend="+backend)
			if !strings.Contains(verified, "as wanted ") {
				t.Errorf("verify: %s", verified)
			}
			for _, f := range lab.Families() {
				arrival := lab.ContainerGateway.Port(f, dnsPort).String()
				said := strings.Contains(verified, "what docker0 sends by tcp and udp arrives at "+arrival+", where the proxy does not listen: it gets no answer\n") &&
					strings.Contains(verified, "\nmeshtables: hint: "+mend+"\n")
				_, explained := run(t, p, "explain", "in", lab.Resolver.Port(f, 53).String(), "--proto=udp", "--in-interface=docker0", "--live")
				explains := strings.Contains(explained, "nobody listens at "+arrival+", where it arrives: datagrams get no answer\n  to mend it: "+mend)
				if said != unheard || explains != unheard {
					t.Errorf("%s: unheard is %t; verify says\n%s\nexplain says\n%s", f, unheard, verified, explained)
				}
			}
			if strings.Contains(verified, "15001") {
				t.Errorf("the proxy listens at every address of port 15001: %s", verified)
			}
			if unheard {
				answerAt(t, p, lab.ContainerGateway)
			}
		}
	})
}

// What auto finds is there when the rules are made. verify says what has come since, and applying
// again captures it.
func TestAutoFindsInterfaces(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, backend string) {
		p := newPod(t, backend)
		apply(t, p, "--virtual-interfaces=auto")
		addContainer(t, p, "lab0")
		for i, want := range []string{"different (", "as wanted ("} {
			status, out := run(t, p, "verify", "--backend="+backend, "--virtual-interfaces=auto")
			if (status != 0) != (i == 0) || !strings.Contains(out, want) || strings.Contains(out, "-i lab0") != (i == 0) && backend != native {
				t.Errorf("exit status %d, want %q in\n%s", status, want, out)
			}
			wantResult(t, p, []string{"applied", "unchanged"}[i], []string{"--virtual-interfaces=auto"})
		}
		cleanup(t, p)
		wantAnswer(t, p, "nothing to remove", "--cleanup-only")
	})
}
