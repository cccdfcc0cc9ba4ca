package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/meshtables/meshtables/tests/intercept"
	"github.com/meshtables/meshtables/tests/kernels"
	"github.com/meshtables/meshtables/tests/lab"
)

// newCgroup returns a cgroup of the test's own.
func newCgroup(t *testing.T) *intercept.Cgroup {
	t.Helper()
	c, err := intercept.NewCgroup(t)
	if err != nil {
		missing(t, err.Error())
	}
	return c
}

// cgroupFolder is the variable by which a copy of the tests is told to move into a cgroup, and to
// be a process of a pod there.
const cgroupFolder = "MESHTABLES_TEST_CGROUP"

// beProcess is what such a copy does: it connects to an address and prints who answers or, without
// one, it stays.
func beProcess(folder string, words []string) error {
	if err := os.WriteFile(filepath.Join(folder, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		return err
	}
	if len(words) == 0 {
		fmt.Println("ready")
		time.Sleep(time.Hour)
	}
	to, err := netip.ParseAddrPort(words[0])
	if err != nil {
		return err
	}
	conn, err := lab.Client{}.DialHere(context.Background(), to)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = fmt.Print(conn.Answer.Server)
	return err
}

// copyIn returns a copy of the tests that is a process in a cgroup.
func copyIn(t *testing.T, c *intercept.Cgroup, words ...string) lab.Command {
	t.Helper()
	tests, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return lab.Command{Path: tests, Args: words, Env: []string{cgroupFolder + "=" + c.Folder}}
}

// keepIn runs a process of the pod in a cgroup until the test ends, so that whoever looks for the
// pod's cgroup finds it.
func (p pod) keepIn(t *testing.T, c *intercept.Cgroup) {
	t.Helper()
	ctx, end := context.WithCancel(context.Background())
	ready, ended := newSignal(), make(chan error, 1)
	command := copyIn(t, c)
	command.Stdout = ready
	go func() { ended <- p.Pod.Run(ctx, command) }()
	t.Cleanup(func() {
		end()
		<-ended
	})
	select {
	case <-ready.seen:
	case err := <-ended:
		ended <- err
		t.Fatal("the process does not start: ", err)
	}
}

// signal is closed by the first output.
type signal struct{ seen chan struct{} }

func newSignal() *signal { return &signal{make(chan struct{})} }

func (s *signal) Write(b []byte) (int, error) {
	close(s.seen)
	return len(b), nil
}

// dialFrom connects from a process in a cgroup, and returns who answers.
func (p pod) dialFrom(t *testing.T, c *intercept.Cgroup, to netip.AddrPort) string {
	t.Helper()
	var out, messages bytes.Buffer
	command := copyIn(t, c, to.String())
	command.Stdout, command.Stderr = &out, &messages
	if err := p.Pod.Run(t.Context(), command); err != nil {
		t.Fatalf("%v\n%s", err, &messages)
	}
	return out.String()
}

// toldBeside is what the verbs say of what others run beside the rules.
type toldBeside struct {
	Verdict      string
	Port         int
	Interceptors struct {
		Programs []toldProgram
		Unread   []string
	}
}

type toldProgram struct {
	ID                                uint32
	Name, Hook, Cgroup, Interface     string
	Direction, Effect, Software, Text string
	BeforeRules                       bool
}

// ask returns what a verb says in JSON.
func (p pod) ask(t *testing.T, args ...string) toldBeside {
	t.Helper()
	var answer toldBeside
	if err := json.Unmarshal([]byte(meshtables(t, p, append(args, "-O", "json")...)), &answer); err != nil {
		t.Fatal(err)
	}
	if answer.Interceptors.Unread != nil {
		t.Errorf("%q: could not read all: %q", args, answer.Interceptors.Unread)
	}
	return answer
}

// wantTold fails unless the verbs name a program, and none besides, and the answer about the
// connection is the one that the rules give. Without a program they have to be quiet.
func (p pod) wantTold(t *testing.T, when string, question []string, verdict string, want ...toldProgram) {
	t.Helper()
	answer := p.ask(t, append([]string{"explain", "--live"}, question...)...)
	if answer.Verdict != verdict {
		t.Errorf("%s: explain says that it is %s, want %s", when, answer.Verdict, verdict)
	}
	for verb, told := range map[string]toldBeside{"explain": answer, "explain everything": p.ask(t, "explain", "--live"), "show": p.ask(t, "show")} {
		for i := range told.Interceptors.Programs {
			got := &told.Interceptors.Programs[i]
			if !strings.Contains(got.Text, " may ") {
				t.Errorf("%s: %s says %q", when, verb, got.Text)
			}
			got.Text = ""
		}
		if diff := cmp.Diff(want, told.Interceptors.Programs); diff != "" {
			t.Errorf("%s: %s: want (-), got (+):\n%s", when, verb, diff)
		}
	}
	status, verified := run(t, p, "verify")
	if status != 0 || strings.Contains(verified, "warning: ") != (len(want) > 0) {
		t.Errorf("%s: verify: exit status %d\n%s", when, status, verified)
	}
	for _, program := range want {
		for _, args := range [][]string{append([]string{"explain", "--live"}, question...), {"explain", "--live"}, {"show"}, {"verify"}} {
			if _, out := run(t, p, args...); !strings.Contains(out, fmt.Sprintf("BPF program %d %s (", program.ID, program.Name)) {
				t.Errorf("%s: %q does not name it:\n%s", when, args, out)
			}
		}
	}
}

// A program of connect4 gives a connection a destination that is excluded, as socket load
// balancing does: it goes past the proxy, although the rules capture the one that was asked for.
func TestRewrittenBeforeRules(t *testing.T) {
	t.Parallel()
	c := newCgroup(t)
	p := newPod(t, backends()[0])
	p.keepIn(t, c)
	serveProxy(t, p, false)
	if err := p.Peer.ServeTCP(peers, lab.Socket{}, lab.OtherOutside.Port(lab.IPv4, 80)); err != nil {
		t.Fatal(err)
	}
	apply(t, p, "--excluded-cidrs="+lab.OtherOutside.V4.String())
	question := []string{"out", lab.Outside.Port(lab.IPv4, 80).String()}
	check := func(when, server string, want ...toldProgram) {
		t.Helper()
		if got := p.dialFrom(t, c, lab.Outside.Port(lab.IPv4, 80)); got != server {
			t.Errorf("%s: %s answers, want %s", when, got, server)
		}
		p.wantTold(t, when, question, "redirected", want...)
	}
	check("before", proxyOut)
	program := intercept.Rewrite(t, "cil_sock4_connect", lab.Outside.V4, lab.OtherOutside.V4)
	detach := c.Attach(t, ebpf.AttachCGroupInet4Connect, program)
	check("rewritten", peers, toldProgram{
		ID: intercept.ID(t, program), Name: "cil_sock4_conne", Hook: "connect4", Cgroup: c.Name,
		Direction: "out", Effect: "rewrite", Software: "Cilium", BeforeRules: true,
	})
	// Without a program of that name it is another's.
	detach()
	check("afterwards", proxyOut)
}

// A program of tc sends what leaves the pod by another interface, after the rules.
func TestRedirectedAfterRules(t *testing.T) {
	t.Parallel()
	p := newPod(t, backends()[0])
	if err := p.AddNet1(); err != nil {
		t.Fatal(err)
	}
	// Packets are addressed to the other end of eth0.
	var net1, arrived netlink.Link
	err := errors.Join(p.Peer.Do(func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		if arrived, err = netlink.LinkByName("net1"); err != nil {
			return err
		}
		return netlink.LinkSetHardwareAddr(arrived, eth0.Attrs().HardwareAddr)
	}), p.Pod.Do(func() (err error) {
		net1, err = netlink.LinkByName("net1")
		return err
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Peer.ServeTCP(peers, lab.Socket{}, lab.Outside.Port(lab.IPv4, 80)); err != nil {
		t.Fatal(err)
	}
	apply(t, p)
	bytesByNet1 := func() (n uint64) {
		t.Helper()
		err := p.Peer.Do(func() error {
			now, err := netlink.LinkByName("net1")
			if err == nil {
				n = now.Attrs().Statistics.RxBytes
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	question := []string{"out", lab.Outside.Port(lab.IPv4, 80).String(), "--uid=1337", "--gid=1337"}
	const line = "a line that is long enough to tell it from the kernel's own packets"
	check := func(when string, redirected bool, want ...toldProgram) {
		t.Helper()
		before := bytesByNet1()
		conn, err := p.Pod.DialTCP(t.Context(), lab.Client{Socket: lab.Socket{As: proxy().as}}, lab.Outside.Port(lab.IPv4, 80))
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		defer conn.Close()
		if err := conn.Echo(strings.Repeat(line, 100)); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		if sent := bytesByNet1() - before; redirected != (sent > uint64(100*len(line))) {
			t.Errorf("%s: %d bytes by net1", when, sent)
		}
		p.wantTold(t, when, question, "bypassed", want...)
	}
	check("before", false)
	k, err := kernels.Current()
	if err != nil {
		t.Fatal(err)
	}
	for _, attach := range []struct {
		hook string
		to   func(*ebpf.Program) func()
	}{
		{"tc egress", func(program *ebpf.Program) func() { return intercept.TC(t, p.Pod.Do, "eth0", true, program, "aside") }},
		{"tcx egress", func(program *ebpf.Program) func() {
			return intercept.TCX(t, p.Pod.Do, "eth0", ebpf.AttachTCXEgress, program)
		}},
	} {
		if attach.hook == "tcx egress" && k.NoTCX {
			continue
		}
		program := intercept.Redirect(t, "aside", net1.Attrs().Index)
		detach := attach.to(program)
		check(attach.hook, true, toldProgram{
			ID: intercept.ID(t, program), Name: "aside", Hook: attach.hook, Interface: "eth0", Direction: "out", Effect: "redirect",
		})
		detach()
		check("after "+attach.hook, false)
	}
}

// A program of sk_lookup gives what the rules send to the proxy to somebody else, who listens at
// another port.
func TestSteeredAfterRules(t *testing.T) {
	t.Parallel()
	p := newPod(t, backends()[0])
	serveProxy(t, p, false)
	apply(t, p)
	const thief = "thief"
	var listener *net.TCPListener
	err := p.Pod.Do(func() error {
		var plain net.ListenConfig
		// Sockets of MPTCP can be given nothing.
		plain.SetMultipathTCP(false)
		l, err := plain.Listen(t.Context(), "tcp4", ":9999")
		if err == nil {
			listener = l.(*net.TCPListener)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = json.NewEncoder(conn).Encode(lab.Answer{Server: thief})
			conn.Close()
		}
	}()
	question := []string{"in", lab.PodAddr.Port(lab.IPv4, 8080).String()}
	check := func(when, server string, want ...toldProgram) {
		t.Helper()
		conn, err := p.Peer.DialTCP(t.Context(), lab.Client{}, lab.PodAddr.Port(lab.IPv4, 8080))
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		conn.Close()
		if conn.Answer.Server != server {
			t.Errorf("%s: %s answers, want %s", when, conn.Answer.Server, server)
		}
		p.wantTold(t, when, question, "redirected", want...)
	}
	check("before", proxyIn)
	program := intercept.Steer(t, "elsewhere", inboundPort, listener)
	detach := intercept.ToNamespace(t, p.Pod.File(), program)
	check("steered", thief, toldProgram{ID: intercept.ID(t, program), Name: "elsewhere", Hook: "sk_lookup", Direction: "in", Effect: "steer"})
	detach()
	check("afterwards", proxyIn)
}

// The programs are where traffic meets them: before the lines about rules or after them.
func TestInterceptorsInOverview(t *testing.T) {
	t.Parallel()
	c := newCgroup(t)
	p := newPod(t, "iptables-nft")
	p.keepIn(t, c)
	apply(t, p)
	c.Attach(t, ebpf.AttachCGroupInet4Connect, intercept.Pass(t, "a1", ebpf.CGroupSockAddr, ebpf.AttachCGroupInet4Connect))
	c.Attach(t, ebpf.AttachCGroupInetEgress, intercept.Pass(t, "a2", ebpf.CGroupSKB, ebpf.AttachCGroupInetEgress))
	intercept.TC(t, p.Pod.Do, "eth0", true, intercept.Pass(t, "a3", ebpf.SchedCLS, 0), "a3")
	intercept.XDP(t, p.Pod.Do, "eth0", intercept.Pass(t, "b1", ebpf.XDP, 0))
	intercept.TCX(t, p.Pod.Do, "eth0", ebpf.AttachTCXIngress, intercept.Pass(t, "b2", ebpf.SchedCLS, 0))
	intercept.ToNamespace(t, p.Pod.File(), intercept.Pass(t, "b3", ebpf.SkLookup, ebpf.AttachSkLookup))
	c.Attach(t, ebpf.AttachCGroupInetIngress, intercept.Pass(t, "b4", ebpf.CGroupSKB, ebpf.AttachCGroupInetIngress))
	// Applications are told other peers, which changes nothing about where traffic goes.
	c.Attach(t, ebpf.AttachCgroupInet4GetPeername, intercept.Pass(t, "peer", ebpf.CGroupSockAddr, ebpf.AttachCgroupInet4GetPeername))
	text := meshtables(t, p, "explain", "--live")
	at := 0
	for _, want := range []string{
		"\ninbound\n  ? another program may redirect, change or drop packets before the rules see them: BPF programs ", " b1 (xdp on eth0), ", " b2 (tcx ingress on eth0)\n",
		"\n  tcp to port 15008 ", "\n  everything else ",
		"\n  ? another program may give connections to another socket than the rules lead to: BPF program ", " b3 (sk_lookup)\n",
		"\n  ? another program may drop packets after the rules: BPF program ", " b4 (ingress on cgroup " + c.Name + ")\n",
		"\noutbound\n  ? another program may rewrite the destination before the rules see it: BPF program ", " a1 (connect4 on cgroup " + c.Name + ")\n",
		"\n  from 127.0.0.6 ", "\n  everything else ",
		"\n  ? another program may drop packets after the rules: BPF program ", " a2 (egress on cgroup " + c.Name + ")\n",
		"\n  ? another program may redirect, change or drop packets after the rules: BPF program ", " a3 (tc egress on eth0)\n",
	} {
		i := strings.Index(text[at:], want)
		if i < 0 {
			t.Fatalf("%q is not there, or not at its place:\n%s", want, text)
		}
		at += i + len(want) - 1
	}
	if strings.Contains(text, "peer (") {
		t.Errorf("tells of what changes nothing:\n%s", text)
	}
	// What is redirected does not leave by eth0: it comes in again, by lo.
	for _, q := range []struct {
		who  []string
		want string
	}{{nil, "a1 a2 b3 b4"}, {[]string{"--uid=1337", "--gid=1337"}, "a1 a2 a3"}} {
		var names []string
		args := append([]string{"explain", "out", lab.Outside.Port(lab.IPv4, 80).String(), "--live"}, q.who...)
		for _, program := range p.ask(t, args...).Interceptors.Programs {
			names = append(names, program.Name)
		}
		if got := strings.Join(names, " "); got != q.want {
			t.Errorf("%q tells of %s, want %s", args, got, q.want)
		}
	}
	if told := p.ask(t, "show").Interceptors.Programs; len(told) != 8 || told[1].Name != "peer" {
		t.Errorf("JSON has %+v", told)
	}
}

// In a user namespace nobody may ask. That is said, and is no alarm.
func TestInterceptorsInUserNamespace(t *testing.T) {
	t.Parallel()
	p := newPodWithIDs(t, "iptables-nft")
	apply(t, p)
	const unread = "? the BPF programs of cgroups, TCX and sk_lookup could not be read: this needs the capability NET_ADMIN outside of user namespaces, and BPF or SYS_ADMIN too where bpf(2) is restricted\n"
	for _, args := range [][]string{{"explain", "--live"}, {"explain", "in", ":80", "--live"}, {"show"}} {
		if status, out := run(t, p, args...); status != 0 || !strings.Contains(out, unread) || strings.Contains(out, "warning: ") {
			t.Errorf("%q: exit status %d\n%s", args, status, out)
		}
	}
	// From the node it is read, but nobody knows the cgroup of a pod without processes.
	const unknown = "? the BPF programs of cgroups could not be read: no process of the network namespace can be seen here\n"
	if out, messages, err := p.fromNode(t, p.Pod.File(), "show"); err != nil || messages != "" || !strings.HasSuffix(out, unknown) || strings.Contains(out, "NET_ADMIN") {
		t.Errorf("from the node: %v\n%s%s", err, out, messages)
	}
}

// checkJSONOfInterceptors compares the answers about programs everywhere with the document.
func checkJSONOfInterceptors(t *testing.T, s *schema) {
	above := newCgroup(t)
	c := above.Below(t, "own")
	p := newPod(t, "iptables-nft")
	p.keepIn(t, c)
	apply(t, p)
	for _, at := range []struct {
		kind ebpf.ProgramType
		at   ebpf.AttachType
	}{
		{ebpf.CGroupSockAddr, ebpf.AttachCGroupInet4Connect}, {ebpf.CGroupSockAddr, ebpf.AttachCGroupInet6Connect},
		{ebpf.CGroupSockAddr, ebpf.AttachCGroupUDP4Sendmsg}, {ebpf.CGroupSockAddr, ebpf.AttachCGroupUDP6Sendmsg},
		{ebpf.CGroupSockAddr, ebpf.AttachCgroupInet4GetPeername}, {ebpf.CGroupSockAddr, ebpf.AttachCgroupInet6GetPeername},
		{ebpf.CGroupSKB, ebpf.AttachCGroupInetEgress}, {ebpf.CGroupSKB, ebpf.AttachCGroupInetIngress},
	} {
		above.Attach(t, at.at, intercept.Pass(t, "cil_program", at.kind, at.at))
	}
	intercept.TC(t, p.Pod.Do, "eth0", false, intercept.Pass(t, "", ebpf.SchedCLS, 0), "")
	intercept.TC(t, p.Pod.Do, "eth0", true, intercept.Pass(t, "out", ebpf.SchedCLS, 0), "")
	intercept.TCX(t, p.Pod.Do, "eth0", ebpf.AttachTCXIngress, intercept.Pass(t, "in", ebpf.SchedCLS, 0))
	intercept.TCX(t, p.Pod.Do, "eth0", ebpf.AttachTCXEgress, intercept.Pass(t, "out", ebpf.SchedCLS, 0))
	intercept.XDP(t, p.Pod.Do, "eth0", intercept.Pass(t, "first", ebpf.XDP, 0))
	intercept.ToNamespace(t, p.Pod.File(), intercept.Pass(t, "look", ebpf.SkLookup, ebpf.AttachSkLookup))
	folder := t.TempDir()
	for _, command := range []string{
		"meshtables show -O json",
		"meshtables explain --live -O json",
		"meshtables explain in :80 --live -O json",
		"setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin meshtables explain out 203.0.113.10:53 --proto=udp --live -O json",
		"setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin meshtables show -O json",
		"setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin meshtables explain --live -O json",
		c.Enter() + "; exec unshare --cgroup --mount sh -ec 'mount -t cgroup2 none $FOLDER; setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin meshtables show -O json ; '",
	} {
		checkJSONRun(t, s, p, folder, command)
	}

	m := newInterceptedMachine(t)
	m.node.Attach(t, ebpf.AttachCGroupInet4Connect, intercept.Pass(t, "cil_program", ebpf.CGroupSockAddr, ebpf.AttachCGroupInet4Connect))
	m.cgroups["web"].Attach(t, ebpf.AttachCGroupInet4Connect, intercept.Pass(t, "mine", ebpf.CGroupSockAddr, ebpf.AttachCGroupInet4Connect))
	m.cgroups["cart"].AttachAlone(t, ebpf.AttachCGroupInet6Connect, intercept.Pass(t, "alone", ebpf.CGroupSockAddr, ebpf.AttachCGroupInet6Connect))
	for _, args := range [][]string{{"-O", "json"}, {"--pod=shop/cart", "-O", "json"}} {
		stdout, stderr, _ := m.audit(t, args...)
		if err := s.checkAnswer("audit", []byte(stdout)); err != nil {
			t.Errorf("%q: %v\n%s%s", args, err, stdout, stderr)
		}
	}
}
