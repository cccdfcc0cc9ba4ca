package tests

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/version"
	"github.com/vishvananda/netns"

	"github.com/meshtables/meshtables/tests/built"
	"github.com/meshtables/meshtables/tests/lab"
)

// machine is a node of its own for audit: with processes, a folder /run and a network namespace
// that nobody else sees. Nothing of the machine that runs the tests is audited.
type machine struct {
	// process is the first of the machine.
	process string
	// cache and networks are what a container runtime has on a node.
	cache, networks string
}

// newMachine makes a machine that lasts as long as the test.
func newMachine(t testing.TB) *machine {
	t.Helper()
	if err := lab.Available(); err != nil {
		missing(t, err.Error())
	}
	m := &machine{cache: t.TempDir(), networks: t.TempDir()}
	cmd := exec.Command("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-ec",
		"mount -t tmpfs tmpfs /run; mkdir /run/netns; ip link set lo up; echo ready; exec cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	// The signal comes when the thread ends that started it.
	runtime.LockOSThread()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait()
		runtime.UnlockOSThread()
	})
	var ready string
	if _, err := fmt.Fscan(stdout, &ready); err != nil {
		t.Fatal("the machine does not start: ", err)
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	m.process = strings.TrimSpace(string(children))
	return m
}

// command returns a program on the machine.
func (m *machine) command(ctx context.Context, words ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--target", m.process, "--net", "--mount", "--pid", "--"}, words...)...)
	cmd.Env = []string{"PATH=" + filepath.Dir(built.Program()) + ":" + os.Getenv("PATH")}
	return cmd
}

// sh runs a script on the machine, which must succeed.
func (m *machine) sh(t testing.TB, script string) string {
	t.Helper()
	out, err := m.command(t.Context(), "sh", "-ec", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s\n%v\n%s", script, err, out)
	}
	return string(out)
}

// audit runs the verb and returns its answer, what it says beside, and its exit status.
func (m *machine) audit(t testing.TB, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	words := append([]string{built.Program(), "audit", "--cni-cache=" + m.cache, "--network-folder=" + m.networks}, args...)
	return m.run(t, words...)
}

func (m *machine) run(t testing.TB, words ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, messages bytes.Buffer
	cmd := m.command(t.Context(), words...)
	cmd.Stdout, cmd.Stderr = &out, &messages
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), messages.String(), cmd.ProcessState.ExitCode()
}

// nodePod is a pod of a machine.
type nodePod struct {
	// name is NAMESPACE/NAME, and number makes its addresses.
	name   string
	number int
	// annotations are nil if the container runtime does not hand them over.
	annotations map[string]string
	// uncached says that the cache has no entry of it.
	uncached bool
	// before makes the namespace, if it is not an ordinary one; %s stands for its file.
	before string
	// netns is the file of the namespace, and as has its addresses, if they are not its own.
	netns string
	as    int
	// only are its addresses, if that is what matters.
	only []string
}

func (p *nodePod) file() string {
	return cmp.Or(p.netns, fmt.Sprintf("/run/netns/cni-%d", p.number))
}

func (p *nodePod) addresses() []netip.Prefix {
	if p.only != nil {
		var all []netip.Prefix
		for _, a := range p.only {
			all = append(all, netip.MustParsePrefix(a))
		}
		return all
	}
	number := cmp.Or(p.as, p.number)
	return []netip.Prefix{
		netip.MustParsePrefix(fmt.Sprintf("10.244.%d.%d/24", number>>8, number&255)),
		netip.MustParsePrefix(fmt.Sprintf("fd00:10:244::%x/64", number)),
	}
}

// in returns a script that runs another in the pod.
func (p *nodePod) in(script string) string {
	return fmt.Sprintf("nsenter --net=%s sh -ec '%s'\n", p.file(), script)
}

// start makes a pod's namespace with its interface, and what the container runtime stores.
func (m *machine) start(t testing.TB, p *nodePod) {
	t.Helper()
	script := fmt.Sprintf("ip netns add cni-%d\n", p.number)
	if p.before != "" {
		m.sh(t, "touch "+p.file()+"; "+fmt.Sprintf(p.before, p.file()))
		m.store(t, p, m.cache)
		return
	}
	setup := "ip link set lo up; if [ -e /proc/sys/net/ipv6 ]; then echo 0 >/proc/sys/net/ipv6/conf/all/disable_ipv6; fi; ip link add eth0 type veth peer name peer; ip link set eth0 up; ip link set peer up"
	for _, a := range p.addresses() {
		setup += fmt.Sprintf("; ip address add %s dev eth0", a)
		if a.Addr().Is6() {
			setup += " nodad"
		}
	}
	m.sh(t, script+p.in(setup))
	if !p.uncached {
		m.store(t, p, m.cache)
	}
}

// store writes the entry of a pod as container runtimes do: by libcni, which asks plugins.
func (m *machine) store(t testing.TB, p *nodePod, cache string) {
	t.Helper()
	namespace, name, _ := strings.Cut(p.name, "/")
	list, err := libcni.NetworkConfFromBytes([]byte(`{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"bridge"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	conf := &libcni.RuntimeConf{
		ContainerID: fmt.Sprintf("c%063d", p.number), NetNS: p.file(), IfName: "eth0",
		Args: [][2]string{
			{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", namespace}, {"K8S_POD_NAME", name},
			{"K8S_POD_INFRA_CONTAINER_ID", "x"}, {"K8S_POD_UID", fmt.Sprintf("uid-%d-%s", p.number, name)},
		},
	}
	if p.annotations != nil {
		conf.CapabilityArgs = map[string]any{"io.kubernetes.cri.pod-annotations": p.annotations}
	}
	plugins := libcni.NewCNIConfigWithCacheDir(nil, cache, &standIn{pod: p})
	if _, err := plugins.AddNetworkList(t.Context(), list, conf); err != nil {
		t.Fatal(err)
	}
	if p.number%2 == 0 {
		m.makeOlder(t, filepath.Join(cache, "results", "net-"+conf.ContainerID+"-eth0"))
	}
}

// makeOlder takes out of an entry what the libcni of containerd 1.6 does not write.
func (m *machine) makeOlder(t testing.TB, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var entry map[string]json.RawMessage
	if err := json.Unmarshal(text, &entry); err != nil {
		t.Fatal(err)
	}
	delete(entry, "netns")
	if text, err = json.Marshal(entry); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// standIn answers as a plugin that has made the pod's interface.
type standIn struct {
	version.PluginDecoder
	pod *nodePod
}

func (s *standIn) FindInPath(plugin string, _ []string) (string, error) { return plugin, nil }

func (s *standIn) ExecPlugin(context.Context, string, []byte, []string) ([]byte, error) {
	var ips []map[string]string
	for _, a := range s.pod.addresses() {
		ips = append(ips, map[string]string{"address": a.String()})
	}
	interfaces := []map[string]string{{"name": "veth1"}, {"name": "eth0", "sandbox": s.pod.file()}}
	return json.Marshal(map[string]any{"cniVersion": "1.0.0", "interfaces": interfaces, "ips": ips})
}

// configure writes the node's network with the plugin's entry.
func (m *machine) configure(t testing.TB, entry string) {
	t.Helper()
	text := `{"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "bridge"}, ` + entry + `]}`
	if err := os.WriteFile(filepath.Join(m.networks, "10-net.conflist"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// listen opens the ports at which a proxy listens in a pod, until the test ends.
func (m *machine) listen(t testing.TB, p *nodePod, ports ...int) {
	t.Helper()
	for _, port := range ports {
		m.listenAt(t, p, fmt.Sprintf(":%d", port))
	}
}

// listenAt opens ports at addresses, such as "127.0.0.1:15053".
func (m *machine) listenAt(t testing.TB, p *nodePod, places ...string) {
	t.Helper()
	var open []io.Closer
	m.within(t, p, func() error {
		for _, at := range places {
			l, err := net.Listen("tcp", at)
			if err != nil {
				return err
			}
			c, err := net.ListenPacket("udp", at)
			if err != nil {
				return err
			}
			open = append(open, l, c)
		}
		return nil
	})
	t.Cleanup(func() {
		for _, l := range open {
			l.Close()
		}
	})
}

// listenAs opens the ports at which a proxy of that user listens in a pod, until the test ends.
// If it is seen, a process on the machine has the sockets, whose name is sleep.
func (m *machine) listenAs(t testing.TB, p *nodePod, who lab.Identity, seen bool, ports ...int) {
	t.Helper()
	var files []*os.File
	var plain net.ListenConfig
	// With it the socket that the kernel lists is another than that of the file.
	plain.SetMultipathTCP(false)
	m.within(t, p, func() error {
		for _, port := range ports {
			l, err := plain.Listen(t.Context(), "tcp", fmt.Sprintf(":%d", port))
			if err != nil {
				return err
			}
			file, err := l.(*net.TCPListener).File()
			if err != nil {
				return err
			}
			files = append(files, file)
			// The socket's user changes with that of its file (sockfs_setattr in net/socket.c).
			if err := errors.Join(l.Close(), file.Chown(int(who.UID), int(who.GID))); err != nil {
				return err
			}
		}
		return nil
	})
	t.Cleanup(func() {
		for _, f := range files {
			f.Close()
		}
	})
	if !seen {
		return
	}
	ctx, end := context.WithCancel(context.Background())
	cmd := m.command(ctx, "nsenter", "--net="+p.file(), "setpriv", fmt.Sprintf("--reuid=%d", who.UID), fmt.Sprintf("--regid=%d", who.GID), "--clear-groups",
		"sh", "-c", "echo ready; exec sleep 3600")
	cmd.ExtraFiles = files
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		end()
		_ = cmd.Wait()
	})
	var ready string
	if _, err := fmt.Fscan(stdout, &ready); err != nil {
		t.Fatal("the proxy does not start: ", err)
	}
}

// within calls f on a thread in a pod's namespace. What it opens is there.
func (m *machine) within(t testing.TB, p *nodePod, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		// The thread ends with the goroutine.
		runtime.LockOSThread()
		done <- func() error {
			ns, err := netns.GetFromPath("/proc/" + m.process + "/root" + p.file())
			if err != nil {
				return err
			}
			defer ns.Close()
			if err := netns.Set(ns); err != nil {
				return err
			}
			return f()
		}()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// injected returns the annotations of a pod that Istio's injector has given a sidecar, whose
// rules a plugin writes, and others.
func injected(others ...string) map[string]string {
	notes := map[string]string{
		"sidecar.istio.io/status": byPlugin,
	}
	for i := 0; i < len(others); i += 2 {
		notes[others[i]] = others[i+1]
	}
	return notes
}

// injectedByLinkerd are the annotations of a pod that Linkerd's injector has given a proxy, with
// others of Linkerd's by the rest of their names.
func injectedByLinkerd(others ...string) map[string]string {
	notes := map[string]string{"linkerd.io/proxy-version": "edge-26.7.1"}
	for i := 0; i < len(others); i += 2 {
		notes["config.linkerd.io/"+others[i]] = others[i+1]
	}
	return notes
}
