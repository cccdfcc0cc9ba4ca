package interceptor_test

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/interceptor"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"github.com/meshtables/meshtables/tests/intercept"
)

// here is for what is attached in the namespace of the calling test.
func here(f func() error) error { return f() }

// newCgroup returns a cgroup of the test's own.
func newCgroup(t *testing.T) *intercept.Cgroup {
	t.Helper()
	c, err := intercept.NewCgroup(t)
	if err != nil {
		nstest.Missing(t, "%v", err)
	}
	return c
}

// runIn runs a process in a cgroup and in the namespace of the test, until the test ends.
func runIn(t *testing.T, c *intercept.Cgroup) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sh", "-ec", c.Enter()+"; echo ready; exec sleep 600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var ready string
	if _, err := fmt.Fscan(out, &ready); err != nil {
		t.Fatal("the process does not start: ", err)
	}
	return cmd
}

// places are one line for each program, with its place.
func places(found interceptor.Found) []string {
	var all []string
	for _, p := range found.Programs {
		all = append(all, strings.Join(append([]string{p.String(), p.Type}, p.Flags...), " "))
	}
	return all
}

// Every place is read, in the order in which traffic meets what is there. Where nothing is
// attached any more there is nothing.
func TestRead(t *testing.T) {
	nstest.Enter(t)
	nstest.Run(t, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "peer")
	nstest.Run(t, "ip", "link", "set", "eth0", "up")
	ns := nstest.Here(t)
	above := newCgroup(t)
	own := above.Below(t, "own")
	runIn(t, own)
	if found := new(interceptor.Reader).Read(t.Context(), ns); !found.IsEmpty() {
		t.Fatalf("before anything is attached there is %+v", found)
	}

	var want []string
	var detach []func()
	// Programs are attached in the opposite order.
	cgroup := func(c *intercept.Cgroup, name, kind string, of ebpf.ProgramType, at ebpf.AttachType) {
		p := intercept.Pass(t, strings.ReplaceAll(name, " ", "_"), of, at)
		detach = append(detach, c.Attach(t, at, p))
		want = append(want, fmt.Sprintf("%d %s (%s on cgroup %s) %s multi", intercept.ID(t, p), strings.ReplaceAll(name, " ", "_"), name, c.Name, kind))
	}
	cgroup(own, "ingress", "cgroup_skb", ebpf.CGroupSKB, ebpf.AttachCGroupInetIngress)
	lookup := intercept.Pass(t, "look", ebpf.SkLookup, ebpf.AttachSkLookup)
	detach = append(detach, intercept.ToNamespace(t, "/proc/thread-self/ns/net", lookup))
	want = append(want, fmt.Sprintf("%d look (sk_lookup) sk_lookup", intercept.ID(t, lookup)))
	tc := intercept.Pass(t, "", ebpf.SchedCLS, 0)
	detach = append(detach, intercept.TC(t, here, "eth0", false, tc, "prog.o:[in\x1b]"))
	want = append(want, fmt.Sprintf("%d prog.o:[in?] (tc ingress on eth0) sched_cls direct-action", intercept.ID(t, tc)))
	for _, at := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
		name := map[ebpf.AttachType]string{ebpf.AttachTCXIngress: "tcx ingress", ebpf.AttachTCXEgress: "tcx egress"}[at]
		p := intercept.Pass(t, "express", ebpf.SchedCLS, 0)
		detach = append(detach, intercept.TCX(t, here, "lo", at, p))
		if at == ebpf.AttachTCXEgress {
			xdp := intercept.Pass(t, "first", ebpf.XDP, 0)
			detach = append(detach, intercept.XDP(t, here, "eth0", xdp))
			want = append(want, fmt.Sprintf("%d first (xdp on eth0) xdp", intercept.ID(t, xdp)))
		}
		want = append(want, fmt.Sprintf("%d express (%s on lo) sched_cls", intercept.ID(t, p), name))
	}
	cgroup(above, "egress", "cgroup_skb", ebpf.CGroupSKB, ebpf.AttachCGroupInetEgress)
	cgroup(own, "getpeername6", "cgroup_sock_addr", ebpf.CGroupSockAddr, ebpf.AttachCgroupInet6GetPeername)
	cgroup(own, "getpeername4", "cgroup_sock_addr", ebpf.CGroupSockAddr, ebpf.AttachCgroupInet4GetPeername)
	cgroup(own, "sendmsg6", "cgroup_sock_addr", ebpf.CGroupSockAddr, ebpf.AttachCGroupUDP6Sendmsg)
	cgroup(own, "sendmsg4", "cgroup_sock_addr", ebpf.CGroupSockAddr, ebpf.AttachCGroupUDP4Sendmsg)
	cgroup(own, "connect6", "cgroup_sock_addr", ebpf.CGroupSockAddr, ebpf.AttachCGroupInet6Connect)
	// Those of the cgroup above run after its own.
	cgroup(above, "connect4", "cgroup_sock_addr", ebpf.CGroupSockAddr, ebpf.AttachCGroupInet4Connect)
	cgroup(own, "connect4", "cgroup_sock_addr", ebpf.CGroupSockAddr, ebpf.AttachCGroupInet4Connect)
	slices.Reverse(want)

	found := new(interceptor.Reader).Read(t.Context(), ns)
	if diff := cmp.Diff(want, places(found)); diff != "" || found.Unread != nil {
		t.Errorf("attached (-), read (+):\n%s%q", diff, found.Unread)
	}
	for _, d := range detach {
		d()
	}
	if found := new(interceptor.Reader).Read(t.Context(), ns); !found.IsEmpty() {
		t.Errorf("when nothing is attached any more there is %+v", found)
	}
}

// A program that is attached to two cgroups above each other runs twice. Flags are those with
// which each is attached.
func TestReadTwice(t *testing.T) {
	nstest.Enter(t)
	ns := nstest.Here(t)
	above := newCgroup(t)
	own := above.Below(t, "own")
	process := runIn(t, own)
	p := intercept.Pass(t, "both", ebpf.CGroupSockAddr, ebpf.AttachCGroupInet4Connect)
	own.Attach(t, ebpf.AttachCGroupInet4Connect, p)
	above.Attach(t, ebpf.AttachCGroupInet4Connect, p)
	want := []string{"connect4 on cgroup " + own.Name, "connect4 on cgroup " + above.Name}
	// A second process in the same cgroup changes nothing.
	runIn(t, own)
	for name, found := range map[string]interceptor.Found{
		"looked for": new(interceptor.Reader).Read(t.Context(), ns),
		"given":      new(interceptor.Reader).ReadOf(t.Context(), ns, []string{fmt.Sprintf("/proc/%d", process.Process.Pid)}),
	} {
		var got []string
		for _, p := range found.Programs {
			got = append(got, p.Hook+" on cgroup "+p.Cgroup)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: attached (-), read (+):\n%s", name, diff)
		}
	}
}

// There can be more programs than there is usually room for, and they run from below.
func TestReadMany(t *testing.T) {
	nstest.Enter(t)
	ns := nstest.Here(t)
	above := newCgroup(t)
	own := above.Below(t, "own")
	runIn(t, own)
	const each = 40
	var want []uint32
	for _, c := range []*intercept.Cgroup{own, above} {
		for range each {
			p := intercept.Pass(t, "many", ebpf.CGroupSockAddr, ebpf.AttachCGroupInet4Connect)
			c.Attach(t, ebpf.AttachCGroupInet4Connect, p)
			want = append(want, intercept.ID(t, p))
		}
	}
	var got []uint32
	for _, p := range new(interceptor.Reader).Read(t.Context(), ns).Programs {
		got = append(got, p.ID)
		if wanted := map[bool]string{true: own.Name, false: above.Name}[len(got) <= each]; p.Cgroup != wanted {
			t.Errorf("program %d is on %s, want %s", p.ID, p.Cgroup, wanted)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("attached (-), read (+):\n%s", diff)
	}
}

// In a container, cgroups have names of its own. Who may look at them as process 1 of the machine
// does finds out where the programs are, also of processes in cgroups elsewhere. Who may not knows
// of what is inherited.
func TestReadInContainer(t *testing.T) {
	nstest.Enter(t)
	above := newCgroup(t)
	own, other := above.Below(t, "own"), above.Below(t, "other")
	p := intercept.Pass(t, "inherited", ebpf.CGroupSockAddr, ebpf.AttachCGroupInet4Connect)
	above.Attach(t, ebpf.AttachCGroupInet4Connect, p)
	id := intercept.ID(t, p)
	// $0 is a folder.
	machine := func(container string) []string {
		script := fmt.Sprintf(`sh -c '%s; exec sleep 600' &
			process=/proc/$!
			until grep -q %s $process/cgroup; do sleep 0.01; done
			export process
			(%s; unshare --cgroup --mount bash -ec '%s' "$0" "$@")
			kill $!`, other.Enter(), other.Name, strings.ReplaceAll(own.Enter(), "$$", "$BASHPID"), container)
		return []string{"unshare", "--pid", "--fork", "--mount-proc", "bash", "-ec", script, t.TempDir()}
	}
	const (
		as      = "export " + processes + "="
		bounded = `mount -t cgroup2 none "$0"; exec setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin "$@"`
	)
	found := fmt.Sprintf("%d inherited (connect4 on cgroup %s)\n", id, above.Name)
	for _, test := range []struct{ name, container, want string }{
		{"its own", `exec "$@"`, found},
		{"another's", as + `$process; exec "$@"`, found},
		{"its own, not allowed", bounded, fmt.Sprintf("%d (connect4 on a cgroup above /)\n%s\n", id, nameless)},
		{"another's, not allowed", as + "$process; " + bounded, "the BPF programs of cgroups could not be read: no mount of cgroups here has those of the processes\n"},
	} {
		if out, err := helper(t, machine(test.container)).CombinedOutput(); err != nil || string(out) != test.want {
			t.Errorf("%s: %v\n%swant\n%s", test.name, err, out, test.want)
		}
	}
}

const nameless = "the names of BPF programs could not be read: this needs the capability SYS_ADMIN outside of user namespaces"

// What a connection meets depends on its protocol, family and interfaces.
func TestOn(t *testing.T) {
	t.Parallel()
	var found interceptor.Found
	for _, h := range []struct {
		hook, link string
		direction  interceptor.Direction
		effect     interceptor.Effect
	}{
		{"connect4", "", interceptor.Out, interceptor.Rewrites}, {"connect6", "", interceptor.Out, interceptor.Rewrites},
		{"sendmsg4", "", interceptor.Out, interceptor.Rewrites}, {"sendmsg6", "", interceptor.Out, interceptor.Rewrites},
		{"getpeername4", "", interceptor.Out, interceptor.Renames}, {"egress", "", interceptor.Out, interceptor.Drops},
		{"tc egress", "lo", interceptor.Out, interceptor.Redirects}, {"tc egress", "eth0", interceptor.Out, interceptor.Redirects},
		{"xdp", "eth0", interceptor.In, interceptor.Redirects}, {"tc ingress", "lo", interceptor.In, interceptor.Redirects},
		{"sk_lookup", "", interceptor.In, interceptor.Steers}, {"ingress", "", interceptor.In, interceptor.Drops},
	} {
		found.Programs = append(found.Programs, interceptor.Program{Hook: h.hook, Interface: h.link, Direction: h.direction, Effect: h.effect})
	}
	for _, test := range []struct {
		name string
		c    interceptor.Connection
		want string
	}{
		{"out", interceptor.Connection{Family: iptables.IPv4, Protocol: iptables.TCP, Out: "eth0"}, "connect4, connect6, egress, tc egress eth0"},
		{"out, IPv6", interceptor.Connection{Family: iptables.IPv6, Protocol: iptables.TCP, Out: "eth0"}, "connect6, egress, tc egress eth0"},
		{"out, UDP", interceptor.Connection{Family: iptables.IPv6, Protocol: iptables.UDP, Out: "eth0"}, "connect6, sendmsg6, egress, tc egress eth0"},
		{"to the proxy", interceptor.Connection{Family: iptables.IPv6, Protocol: iptables.TCP, Out: "lo", In: "lo"}, "connect6, egress, tc egress lo, tc ingress lo, sk_lookup, ingress"},
		{"in", interceptor.Connection{Family: iptables.IPv4, Protocol: iptables.TCP, In: "eth0"}, "xdp eth0, sk_lookup, ingress"},
		{"in elsewhere", interceptor.Connection{Family: iptables.IPv4, Protocol: iptables.TCP, In: "net1"}, "sk_lookup, ingress"},
	} {
		var got []string
		for _, p := range found.On(test.c) {
			got = append(got, strings.TrimSpace(p.Hook+" "+p.Interface))
		}
		if diff := cmp.Diff(test.want, strings.Join(got, ", ")); diff != "" {
			t.Errorf("%s: want (-), got (+):\n%s", test.name, diff)
		}
	}
}

// A reader that may not ask says so, and leaves nothing out silently.
func TestReadWithoutPrivilege(t *testing.T) {
	nstest.Enter(t)
	lookup := intercept.Pass(t, "look", ebpf.SkLookup, ebpf.AttachSkLookup)
	intercept.ToNamespace(t, "/proc/thread-self/ns/net", lookup)
	id := intercept.ID(t, lookup)
	const needs = "this needs the capability NET_ADMIN outside of user namespaces, and BPF or SYS_ADMIN too where bpf(2) is restricted"
	for _, test := range []struct{ name, drop, want string }{
		{"no name", "-sys_admin", fmt.Sprintf("%d (sk_lookup)\n%s\n", id, nameless)},
		{"nothing", "-all", "the BPF programs of cgroups, TCX and sk_lookup could not be read: " + needs + "\n"},
	} {
		out, err := helper(t, []string{"setpriv", "--bounding-set=" + test.drop, "--inh-caps=" + test.drop}).CombinedOutput()
		if err != nil || string(out) != test.want {
			t.Errorf("%s: %v\n%swant\n%s", test.name, err, out, test.want)
		}
	}
	// In a user namespace nobody is privileged enough.
	out, err := helper(t, []string{"unshare", "--user", "--map-root-user"}).CombinedOutput()
	if err != nil || !strings.Contains(string(out), needs) {
		t.Errorf("in a user namespace: %v\n%s", err, out)
	}
}

// Kernels and sandboxes that cannot tell are told apart from those that have nothing.
func TestReadWhereKernelCannot(t *testing.T) {
	nstest.Enter(t)
	if _, err := exec.LookPath("strace"); err != nil {
		nstest.Missing(t, "the test needs the program strace")
	}
	for _, test := range []struct{ errno, want string }{
		{"ENOSYS", "the BPF programs of cgroups, TCX and sk_lookup could not be read: there is no bpf(2) here\n"},
		// The other places came with a way to ask about them.
		{"EINVAL", "the BPF programs of cgroups could not be read: this kernel cannot list them\n"},
	} {
		out, err := helper(t, []string{"strace", "-f", "-o", "/dev/null", "-e", "inject=bpf:error=" + test.errno}).CombinedOutput()
		if err != nil || string(out) != test.want {
			t.Errorf("%s: %v\n%swant\n%s", test.errno, err, out, test.want)
		}
	}
}
