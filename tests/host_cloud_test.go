package tests

import (
	"strings"
	"testing"
	"time"

	"github.com/meshtables/meshtables/tests/lab"
)

// TestHostPodInterfaces makes the connections of a prober to a pod with an interface of its own
// in a cloud, by real policy routing: without the mesh they go by the cloud, with the address of
// probes they are lost there, and with the option they stay on the node. What others send goes by
// the cloud all the time.
func TestHostPodInterfaces(t *testing.T) {
	t.Parallel()
	for _, backend := range overNetlink() {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, backend)
			if err := p.AddCloud(t.Context()); err != nil {
				t.Fatal(err)
			}
			nodeListeners().serve(t, p)
			for _, f := range lab.Families() {
				serve(t, p, to(lab.PodAddr, 8080), false, f)
			}
			before := nodeRouting(t, p)
			expect := func(when string, probes bool, ends string, seen lab.Addr) {
				t.Helper()
				for _, f := range lab.Families() {
					all := nodesConnections(true)
					prober, forwarded := all[0], all[2]
					prober.want, prober.seen, forwarded.seen = ends, seen, lab.BranchAddr
					if !probes {
						prober.timeout = time.Second
					}
					if err := prober.make(t, p, f); (err == nil) != probes {
						t.Errorf("%s: a probe, %s: %v", when, f, err)
					}
					if ends == pods && seen == lab.FarGateway {
						forwarded.want = pods
					}
					if err := forwarded.make(t, p, f); err != nil {
						t.Errorf("%s: %s: %v", when, f, err)
					}
				}
			}
			host := []string{"host", "--backend=" + backend}
			expect("without the mesh", true, pods, lab.FarGateway)
			apply(t, p, "--dataplane-mode=ambient")
			onNode(t, p, 0, append(host, "--pods="+podAddresses())...)
			expect("without the option", false, pods, probeAddress)
			onNode(t, p, 3, append(host, "--verify", "--pod-interfaces")...)
			planned := onNode(t, p, 0, append(host, "--dry-run", "--pod-interfaces", "--pods="+podAddresses())...)
			onNode(t, p, 0, append(host, "--pod-interfaces")...)
			expect("with the option", true, pods, probeAddress)
			onNode(t, p, 0, append(host, "--verify")...)
			// What --dry-run prints is what there is.
			for line := range strings.Lines(planned) {
				if command, ok := strings.CutPrefix(strings.TrimSpace(line), "# ip "); ok && strings.Contains(command, "rule add") {
					if status, _ := runIn(t, p.Peer, lab.Command{Path: "sh", Args: []string{"-c", "ip " + command}}); status == 0 {
						t.Errorf("%s was not there", command)
					}
				}
			}
			if !strings.Contains(planned, "to "+lab.PodAddr.V4.String()+"/32 lookup 101") || !strings.Contains(planned, "priority 9 iif eth0 lookup local") {
				t.Errorf("--dry-run says %s", planned)
			}
			for _, damage := range []string{"ip rule del pref 9", "ip rule del pref 512"} {
				if status, out := runIn(t, p.Peer, lab.Command{Path: "sh", Args: []string{"-c", damage}}); status != 0 {
					t.Fatal(out)
				}
				if says := onNode(t, p, 3, append(host, "--verify")...); !strings.Contains(says, "routing needs\n  ip rule add priority ") {
					t.Errorf("%s: verify says %s", damage, says)
				}
				onNode(t, p, 0, host...)
			}
			expect("after mending", true, pods, probeAddress)
			// A pod that leaves the set needs none.
			onNode(t, p, 0, append(host, "--pods=10.0.0.1")...)
			if got := nodeRouting(t, p); got != before {
				t.Errorf("rules are left: %s", got)
			}
			onNode(t, p, 0, append(host, "--add-pods="+podAddresses(), "--probe-route", "--pod-interfaces")...)
			expect("with a route too", true, pods, probeAddress)
			onNode(t, p, 0, append(host, "--verify")...)
			onNode(t, p, 0, "host", "--cleanup-only")
			if got := nodeRouting(t, p); got != before {
				t.Errorf("before:\n%s\nafter removal:\n%s", before, got)
			}
		})
	}
}

// nodeRouting returns the node's policy rules and routes.
func nodeRouting(t *testing.T, p pod) string {
	t.Helper()
	status, out := runIn(t, p.Peer, lab.Command{Path: "sh", Args: []string{"-c", "ip rule; ip -6 rule; ip route show table all; ip -6 route show table all"}})
	if status != 0 {
		t.Fatal(out)
	}
	return out
}

// A rule of others that does the same is used, and stays.
func TestHostPodInterfacesOfAgent(t *testing.T) {
	t.Parallel()
	p := newPod(t, "iptables-nft")
	if err := p.AddCloud(t.Context()); err != nil {
		t.Fatal(err)
	}
	theirs := "ip rule add pref 512 to " + lab.PodAddr.V4.String() + " lookup 101; ip rule add pref 9 iif eth0 lookup local"
	if status, out := runIn(t, p.Peer, lab.Command{Path: "sh", Args: []string{"-ec", theirs}}); status != 0 {
		t.Fatal(out)
	}
	before := nodeRouting(t, p)
	onNode(t, p, 0, "host", "--pod-interfaces", "--ipv6=off", "--pods="+podAddresses())
	onNode(t, p, 0, "host", "--verify")
	if got := nodeRouting(t, p); got != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, got)
	}
	onNode(t, p, 0, "host", "--cleanup-only")
	if got := nodeRouting(t, p); got != before {
		t.Errorf("before:\n%s\nafter removal:\n%s", before, got)
	}
}
