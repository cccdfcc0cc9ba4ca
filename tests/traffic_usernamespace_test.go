package tests

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/tests/lab"
)

// firstID is what user 0 of the pod is outside.
const firstID = 100_000

// newPodWithIDs makes a lab whose pod has users of its own, and who runs the program
// there is its root.
func newPodWithIDs(t *testing.T, backend string) pod {
	t.Helper()
	p := newPod(t, backend)
	own, err := lab.NewWithIDs(t.Context(), firstID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := own.Close(); err != nil {
			t.Error(err)
		}
	})
	p.Lab, p.program = own, publicProgram(t)
	p.env = []string{"XTABLES_LOCKFILE=" + lockBeside(p.program)}
	return p
}

// inUserNamespace are connections that must fare by the pod's ids, not by what these
// are outside.
func inUserNamespace() scenario {
	return scenario{checks: []check{
		{name: "outbound", from: app(), to: to(lab.Outside, 80), want: proxyOut},
		{name: "outbound, proxy", from: proxy(), to: to(lab.Outside, 80), want: peers},
		{name: "outbound, proxy's group", from: user(5000, 1337), to: to(lab.Outside, 80), want: peers},
		{name: "outbound, exempt user", from: user(6000, 6000), to: to(lab.Outside, 80), want: peers},
		{name: "outbound, exempt range", from: user(6105, 6000), to: to(lab.Outside, 80), want: peers},
		{name: "outbound, exempt group", from: user(5000, 7000), to: to(lab.Outside, 80), want: peers},
		{name: "outbound, pod's root", from: user(0, 1), to: to(lab.Outside, 80), want: proxyOut},
		{name: "inbound", from: peer(), to: to(lab.PodAddr, 8080), want: proxyIn},
		{name: "inbound, excluded", from: peer(), to: to(lab.PodAddr, 15021), want: pods},
		{name: "proxy by the pod's address", from: proxy(), to: to(lab.PodAddr, 8080), want: proxyIn},
		{name: "proxy from the passthrough address", from: proxy().at(passthrough), to: to(lab.PodAddr, 8080), want: pods},
		{name: "application by loopback", from: app(), to: to(lab.Loopback, 8080), want: pods},
		{name: "DNS", from: app(), to: to(lab.Resolver, 53), udp: true, want: proxyDNS},
		{name: "DNS, proxy", from: proxy(), to: to(lab.Resolver, 53), udp: true, want: peers},
	}}
}

var argsInUserNamespace = []string{"--redirect-dns", "--capture-all-dns", "--excluded-uids=6000,6100-6110", "--excluded-groups=7000"}

// The pod's users are others outside (Kubernetes: hostUsers: false). Its root writes
// rules about them as they are inside.
func TestTrafficInUserNamespace(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, backend string) {
		p := newPodWithIDs(t, backend)
		s := inUserNamespace()
		s.args = argsInUserNamespace
		s.runIn(t, p)

		// The probe becomes users of the pod, and root of it for TPROXY.
		for _, mode := range []string{"REDIRECT", "TPROXY"} {
			p := newPodWithIDs(t, backend)
			apply(t, p, "--redirect-dns", "--mode="+mode)
			if out := meshtables(t, p, "probe"); strings.Contains(out, "failed ") || !strings.Contains(out, "passed   inbound") {
				t.Errorf("%s: %s", mode, out)
			}
		}
	})
}

// A node agent writes rules for such a pod from outside its user namespace. The match
// owner of xtables refuses that (owner_check in net/netfilter/xt_owner.c); what
// nf_tables has itself takes the pod's ids, and left to itself the program takes
// that.
func TestTrafficInUserNamespaceOfAnother(t *testing.T) {
	t.Parallel()
	for _, backend := range append(backends(), "auto") {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			trafficFromOutside(t, backend)
		})
	}
}

func trafficFromOutside(t *testing.T, backend string) {
	p := newPodWithIDs(t, backend)
	if backend != native && backend != "auto" {
		p.refusedFromOutside(t)
		return
	}
	s := inUserNamespace()
	serveProxy(t, p, false)
	s.serve(t, p)
	s.checkAll(t, p, "before", false)
	for _, run := range [][]string{append([]string{"--backend=" + backend}, argsInUserNamespace...), {"--cleanup-only"}} {
		if stdout, stderr, err := p.fromNode(t, p.Pod.File(), run...); err != nil || stderr != "" {
			t.Fatalf("%v\n%s%s", err, stdout, stderr)
		}
		s.checkAll(t, p, strings.Join(run, " "), run[0] != "--cleanup-only")
	}
}

func (p pod) refusedFromOutside(t *testing.T) {
	t.Helper()
	before := ownState(t, p)
	stdout, stderr, err := p.fromNode(t, p.Pod.File(), "--backend="+p.backend)
	if err == nil || stdout != "" || !strings.Contains(stderr, "the old rules are still in place") {
		t.Errorf("%v\n%s%s", err, stdout, stderr)
	}
	if !strings.Contains(stderr, "--backend=nftables") {
		t.Errorf("tells nothing of the native form: %s", stderr)
	}
	if diff := cmp.Diff(before, ownState(t, p)); diff != "" {
		t.Errorf("before (-), after it was refused (+):\n%s", diff)
	}
}
