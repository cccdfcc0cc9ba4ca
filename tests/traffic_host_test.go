package tests

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/tests/lab"
)

// probeAddress is where the node's health probes come from.
var probeAddress = lab.Addr{V4: netip.MustParseAddr("169.254.7.127"), V6: netip.MustParseAddr("fd16:9254:7127:1337:ffff:ffff:ffff:ffff")}

// serviceAddr is that of a service, as kube-proxy translates it.
var serviceAddr = lab.Addr{V4: netip.MustParseAddr("10.96.7.7"), V6: netip.MustParseAddr("fd00:10:96::77")}

// TestTrafficOfNode makes the connections of a node to its pod: those of a prober on the node
// reach the application, past the proxy, and what the node forwards does not, whatever the
// forms of both sides. It is so as long as the pod is in the set.
func TestTrafficOfNode(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, backend string) {
		p := newPod(t, backend)
		if err := p.AddFar(t.Context()); err != nil {
			t.Fatal(err)
		}
		nodeListeners().serve(t, p)
		for _, f := range lab.Families() {
			serve(t, p, to(lab.PodAddr, 8080), false, f)
		}
		translate(t, p)
		apply(t, p, "--dataplane-mode=ambient")
		host := []string{"host", "--backend=" + backend}
		for _, phase := range []struct {
			args   string
			probes bool
		}{
			{"--pods=" + podAddresses(), true},
			{"--remove-pods=" + podAddresses(), false},
			{"--add-pods=" + podAddresses(), true},
			{"--pods=10.0.0.1", false},
			{"--pods=" + podAddresses() + ",10.0.0.1", true},
			{"--cleanup-only", false},
		} {
			onNode(t, p, 0, append(host, phase.args)...)
			for _, f := range lab.Families() {
				for _, c := range nodesConnections(phase.probes) {
					if err := c.make(t, p, f); err != nil {
						t.Errorf("%s: %s: %s: %v", phase.args, c.name, f, err)
					}
				}
			}
		}
	})
}

// nodesConnection is one that comes to the pod by its node.
type nodesConnection struct {
	name string
	from func(pod) *lab.Namespace
	as   lab.Identity
	to   lab.Addr
	port uint16
	want string
	// seen is the client's address, as the server sees it.
	seen lab.Addr
	// timeout is how long it may take, if it is likely to be lost.
	timeout time.Duration
}

// nodesConnections are those with which the pod is in the set, or is not.
func nodesConnections(inSet bool) []nodesConnection {
	node := func(p pod) *lab.Namespace { return p.Peer }
	far := func(p pod) *lab.Namespace { return p.Far }
	ends, seen := proxyIn, lab.PeerAddr
	if inSet {
		ends, seen = pods, probeAddress
	}
	return []nodesConnection{
		{"prober", node, lab.Identity{}, lab.PodAddr, 8080, ends, seen, 0},
		{"prober of another user", node, lab.Identity{UID: 1000, GID: 1000}, lab.PodAddr, 8080, ends, seen, 0},
		{"forwarded", far, lab.Identity{}, lab.PodAddr, 8080, proxyIn, lab.FarAddr, 0},
		{"forwarded, to a service", far, lab.Identity{}, serviceAddr, 80, proxyIn, lab.FarAddr, 0},
	}
}

func (c nodesConnection) make(t *testing.T, p pod, f lab.Family) error {
	client := lab.Client{Socket: lab.Socket{As: c.as}, Timeout: c.timeout, Source: anyAddr().Port(f, p.NextPort())}
	conn, err := c.from(p).DialTCP(t.Context(), client, c.to.Port(f, c.port))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := wantServer(conn.Answer, c.want); err != nil {
		return err
	}
	if got := conn.Answer.Client.Addr(); got != c.seen.In(f) {
		return fmt.Errorf("%s sees client %s, want %s", c.want, got, c.seen.In(f))
	}
	return conn.Echo("hello")
}

// translate makes the node send connections to a service to the pod, as kube-proxy does.
func translate(t *testing.T, p pod) {
	t.Helper()
	commands := strings.NewReplacer("SERVICE4", serviceAddr.V4.String(), "SERVICE6", serviceAddr.V6.String(), "POD4", lab.PodAddr.V4.String(), "POD6", lab.PodAddr.V6.String()).Replace(`
		for chain in PREROUTING OUTPUT; do
			iptables -t nat -A $chain -d SERVICE4 -p tcp --dport 80 -j DNAT --to-destination POD4:8080
			ip6tables -t nat -A $chain -d SERVICE6 -p tcp --dport 80 -j DNAT --to-destination [POD6]:8080
		done
		iptables -t nat -A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE
		ip6tables -t nat -A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE
	`)
	var out bytes.Buffer
	if err := p.Peer.Run(t.Context(), lab.Command{Path: "sh", Args: []string{"-ec", commands}, Stdout: &out, Stderr: &out}); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
}

// The rule comes before those that give everything a source address, as some networks have
// them in the tables of the same program.
func TestTrafficOfNodeThatMasquerades(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, backend string) {
		p := newPod(t, backend)
		nodeListeners().serve(t, p)
		for _, f := range iptables.Families() {
			var out bytes.Buffer
			err := p.Peer.Run(t.Context(), lab.Command{
				Path: commandOf(backend, f), Args: []string{"-t", "nat", "-A", "POSTROUTING", "-j", "MASQUERADE"}, Stdout: &out, Stderr: &out,
			})
			if err != nil {
				t.Fatalf("%v\n%s", err, &out)
			}
		}
		apply(t, p, "--dataplane-mode=ambient")
		onNode(t, p, 0, "host", "--backend="+backend, "--pods="+podAddresses())
		for _, f := range lab.Families() {
			serve(t, p, to(lab.PodAddr, 8080), false, f)
			for _, c := range nodesConnections(true)[:2] {
				if err := c.make(t, p, f); err != nil {
					t.Errorf("%s: %s: %v", c.name, f, err)
				}
			}
		}
	})
}
