package tests

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meshtables/meshtables/tests/built"
	"github.com/meshtables/meshtables/tests/lab"
)

// wayOfProbe is a place at which a probe, or its answer, is lost.
type wayOfProbe struct {
	name string
	// onNode and inPod damage something.
	onNode, inPod string
	port          uint16
	// want is what explain says at last, empty if the answer gets back; mend is the hint.
	want, mend string
	// cloud says that the pod has an interface of its own in a cloud.
	cloud bool
}

func waysOfProbe() []wayOfProbe {
	return []wayOfProbe{
		{name: "whole"},
		{name: "not in the set", onNode: "meshtables host --pods=10.0.0.1", want: "node  it keeps the node's own source address", mend: "meshtables host --add-pods=10.244.1.7"},
		{name: "reload", onNode: "nft flush ruleset", want: "node  it keeps the node's own source address", mend: "meshtables host --add-pods=10.244.1.7"},
		{name: "no route to the pod", onNode: "ip route add unreachable 10.244.1.7", want: "node  there is no route to 10.244.1.7"},
		{name: "dropped on the node", onNode: "iptables -A OUTPUT -p tcp --dport 8080 -j DROP", want: "node  dropped by rule 1 of filter OUTPUT"},
		{name: "another address in the pod", inPod: "meshtables --dataplane-mode=ambient --host-probe-address=169.254.9.9 --ipv6=off", want: "pod   the rules send it to port 15006"},
		{name: "dropped in the pod", inPod: "iptables -A INPUT -s 169.254.0.0/16 -j DROP", want: "pod   dropped by rule 1 of filter INPUT"},
		{name: "reverse path in the pod", inPod: "ip route add 169.254.7.127 dev net1; sysctl -qw net.ipv4.conf.eth0.rp_filter=1", want: "pod   the reverse path filter (rp_filter) drops it", mend: "sysctl -w net/ipv4/conf/eth0/rp_filter=2, in the pod"},
		{name: "nobody listens", port: 9090, want: "pod   nobody listens at port 9090"},
		{name: "no route back", inPod: "ip route del default", want: "pod   there is no route for the answer to 169.254.7.127"},
		{name: "back to itself", inPod: "ip route add 169.254.7.127 dev lo", want: "pod   the answer to 169.254.7.127 does not leave the pod: by lo"},
		{name: "back elsewhere", inPod: "ip route add 169.254.7.127 dev net1", want: "pod   the answer leaves by net1, not by eth0, where the probe came in"},
		{name: "answer dropped in the pod", inPod: "iptables -A OUTPUT -p tcp --sport 8080 -j DROP", want: "pod   the answer is dropped by rule 1 of filter OUTPUT"},
		{name: "answer dropped on the node", onNode: "iptables -A INPUT -i eth0 -p tcp -j DROP", want: "node  the answer comes in by eth0, and is dropped by rule 1 of filter INPUT"},
		{name: "answer dropped before its address is back", onNode: "iptables -t raw -A PREROUTING -d 169.254.7.127 -j DROP", want: "node  the answer comes in by eth0, and is dropped by rule 1 of raw PREROUTING"},
		{name: "answer dropped by its new address", onNode: "iptables -A INPUT -d 10.244.1.1 -p tcp --sport 8080 -j DROP", want: "node  the answer comes in by eth0, and is dropped by rule 1 of filter INPUT"},
		{name: "answer with its new address", onNode: "iptables -A INPUT -d 169.254.7.127 -j DROP"},
		{name: "answer untracked", onNode: "iptables -t raw -A PREROUTING -d 169.254.7.127 -j CT --notrack", want: "keeps it from connection tracking"},
		{name: "reverse path on the node", onNode: "ip route add default dev net1 table 77; ip rule add pref 3 from 10.244.1.1 to 10.244.1.7 lookup 77; sysctl -qw net.ipv4.conf.eth0.rp_filter=1",
			want: "node  the reverse path filter (rp_filter) drops it", mend: "sysctl -w net/ipv4/conf/eth0/rp_filter=2"},
		{name: "cloud, whole", cloud: true, onNode: "meshtables host --pod-interfaces --ipv6=off"},
		{name: "cloud", cloud: true, want: "node  it leaves by far0 via 10.55.0.2, not by eth0", mend: "meshtables host --pod-interfaces"},
		{name: "cloud, answers", cloud: true, onNode: "ip rule add pref 512 to 10.244.1.7 lookup 101", want: "node  the answer is not delivered here, but leaves again by trunk0 via 10.56.0.2 (table 101)", mend: "meshtables host --pod-interfaces"},
	}
}

// TestExplainProbe loses probes and their answers at every place on their way. explain on the node
// says where, and what really becomes of a connection agrees. Where it hints at a command, that
// mends it.
func TestExplainProbe(t *testing.T) {
	t.Parallel()
	for _, test := range waysOfProbe() {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, "iptables-nft")
			if test.cloud {
				if err := p.AddCloud(t.Context()); err != nil {
					t.Fatal(err)
				}
			} else if err := p.AddNet1(); err != nil {
				t.Fatal(err)
			}
			// By it the pod's network namespace is found.
			processIn(t, p.Pod)
			nodeListeners().serve(t, p)
			serve(t, p, to(lab.PodAddr, 8080), false, lab.IPv4)
			apply(t, p, "--dataplane-mode=ambient", "--ipv6=off")
			onNode(t, p, 0, "host", "--pods="+podAddresses(), "--ipv6=off")
			for in, script := range map[*lab.Namespace]string{p.Peer: test.onNode, p.Pod: test.inPod} {
				c := p.command("-ec", script)
				c.Env = []string{"PATH=" + filepath.Dir(built.Program()) + ":/usr/sbin:/usr/bin:/sbin:/bin"}
				c.Path = "sh"
				if status, out := runIn(t, in, c); status != 0 {
					t.Fatalf("%s: %s", script, out)
				}
			}
			port := uint16(8080)
			if test.port != 0 {
				port = test.port
			}
			check := func(want string) {
				t.Helper()
				says := onNode(t, p, 0, "explain", "out", lab.PodAddr.Port(lab.IPv4, port).String(), "--live")
				_, way, _ := strings.Cut(says, "the way of the probe, and of its answer\n")
				probe := nodesConnections(true)[0]
				probe.port, probe.timeout = port, 700*time.Millisecond
				err := probe.make(t, p, lab.IPv4)
				if want == "" {
					if err != nil || !strings.HasSuffix(way, "node  the answer is delivered to the prober's socket\n") {
						t.Errorf("it says\n%s\nand the connection: %v", way, err)
					}
					return
				}
				lines := strings.Split(way, "\n! ")
				if err == nil || !strings.Contains(lines[len(lines)-1], want) || !strings.Contains(way, "\nit is lost there\n") {
					t.Errorf("it says\n%s\nand the connection: %v, want %s", way, err, want)
				}
				if _, hint, _ := strings.Cut(way, "hint: to mend it: "); strings.TrimSpace(hint) != test.mend {
					t.Errorf("it hints at %q, want %q", hint, test.mend)
				}
			}
			check(test.want)
			if command, ok := strings.CutPrefix(test.mend, "meshtables "); ok {
				onNode(t, p, 0, strings.Fields(command)...)
				check("")
			}
		})
	}
}

// In a pod the way begins with what comes from the address of probes.
func TestExplainProbeInPod(t *testing.T) {
	t.Parallel()
	p := newPod(t, "iptables-nft")
	serve(t, p, to(lab.PodAddr, 8080), false, lab.IPv4)
	apply(t, p, "--dataplane-mode=ambient", "--ipv6=off")
	says := meshtables(t, p, "explain", "in", ":8080", "--from=169.254.7.127", "--live")
	if want := "  pod   the answer leaves by eth0 via 10.244.1.1\n"; !strings.HasSuffix(says, want) {
		t.Errorf("says %s", says)
	}
	for _, args := range [][]string{{"--from=10.244.1.1"}, {"--from=169.254.7.127", "--proto=udp"}} {
		if says := meshtables(t, p, append([]string{"explain", "in", ":8080", "--live"}, args...)...); strings.Contains(says, "the way of the probe") {
			t.Errorf("%q: says %s", args, says)
		}
	}
}
