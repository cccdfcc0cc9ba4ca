package tests

import (
	"cmp"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meshtables/meshtables/tests/built"
	"github.com/meshtables/meshtables/tests/lab"
)

// watcher is a run of cni install --watch on a machine.
type watcher struct {
	machine *machine
	cmd     *exec.Cmd
	// messages is the file of what it says, and pid that of its process id on the machine.
	messages, pid string
}

// watch starts to keep the plugin on a machine, with a folder for what it has. The first words may
// be a program that runs it.
func (m *machine) watch(t *testing.T, folder string, before []string, args ...string) *watcher {
	t.Helper()
	w := &watcher{machine: m, messages: filepath.Join(folder, "messages"), pid: filepath.Join(folder, "pid")}
	words := append([]string{"sh", "-c", `echo $$ >"$0" && exec "$@"`, w.pid}, before...)
	words = append(words, built.Program(), "cni", "install", "--watch", "--network-folder="+m.networks, "--plugin-folder="+folder)
	w.cmd = m.command(context.Background(), append(words, args...)...)
	file, err := os.Create(w.messages)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w.cmd.Stdout, w.cmd.Stderr = file, file
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return w
}

// end ends it.
func (w *watcher) end(t *testing.T) {
	t.Helper()
	w.machine.sh(t, "kill $(cat "+w.pid+")")
	if err := w.cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, w.said(t))
	}
}

func (w *watcher) said(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(w.messages)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// says waits until it has said something that many times.
func (w *watcher) says(t *testing.T, what string, times int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); strings.Count(w.said(t), what) < times; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%q is not there %d times:\n%s", what, times, w.said(t))
		}
	}
}

// onlyPrimary writes the network as its own plugin does, which knows of no other.
func (m *machine) onlyPrimary(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(m.networks, "10-net.conflist"), []byte(`{"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "bridge"}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Who keeps the plugin in place captures the pods that have started without it, when it starts and
// whenever the plugin was away. Other pods stay as they are.
func TestMissedPods(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	pods := []*nodePod{
		{name: "shop/early", annotations: injected()},
		{name: "shop/plain", annotations: map[string]string{}},
		{name: "shop/itself", annotations: map[string]string{"sidecar.istio.io/status": byItself}},
		{name: "shop/changed", annotations: injected()},
		{name: "kube-system/excluded", annotations: injected()},
		{name: "shop/validating", annotations: injectedByLinkerd()},
	}
	for i, p := range pods {
		p.number = i + 1
		m.start(t, p)
	}
	m.sh(t, pods[3].in("meshtables --excluded-outbound-ports=7"))
	states := func() string {
		t.Helper()
		reports, _ := m.auditJSON(t)
		var all []string
		for _, p := range pods {
			r := reports[p.file()]
			all = append(all, r.Name+" "+r.State)
		}
		return strings.Join(all, ", ")
	}
	m.onlyPrimary(t)
	var w *watcher
	folder := t.TempDir()
	t.Run("validator", func(t *testing.T) {
		// Linkerd's listens as another user than the proxy, and stops.
		m.listenAs(t, pods[5], lab.Identity{UID: 65534, GID: 65534}, false, 4140)
		w = m.watch(t, folder, nil, "--cni-cache="+m.cache, "--exclude-namespaces=kube-system")
		w.says(t, "captured shop/early, which had started without the plugin: applied 36 rules, by iptables-nft", 1)
		w.says(t, "shop/validating has started without the plugin, and is not captured: the rules would capture what the proxy itself sends", 1)
		if got, want := states(), "early as-wanted, plain not-in-mesh, itself uncaptured, changed different, excluded not-in-mesh, validating uncaptured"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
	defer w.end(t)
	w.says(t, "captured shop/validating, which had started without the plugin: applied 16 rules, by iptables-nft", 1)

	// The network's plugin starts again, and a pod with it.
	m.sh(t, pods[0].in("meshtables --cleanup-only"))
	m.onlyPrimary(t)
	w.says(t, "added to "+filepath.Join(m.networks, "10-net.conflist"), 2)
	w.says(t, "captured shop/early, which had started without the plugin: applied 36 rules, by iptables-nft", 2)
	if got, want := states(), "early as-wanted, plain not-in-mesh, itself uncaptured, changed different, excluded not-in-mesh, validating as-wanted"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Without what capturing needs it says what is missing, once, and keeps the plugin in place.
func TestMissedPodsWithout(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		before, args []string
		cache, says  string
	}{
		"SYS_ADMIN": {before: []string{"setpriv", "--bounding-set=-sys_admin"}, says: "hint: run with the capability SYS_ADMIN"},
		"NET_ADMIN": {before: []string{"setpriv", "--bounding-set=-net_admin"}, says: "hint: run with the capability NET_ADMIN"},
		"the cache": {cache: "/none", says: "nobody can tell which pods have started without the plugin: failed to read libcni's cache: stat /none: no such file or directory"},
		"the order": {args: []string{"--leave-missed"}, says: "added to "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			p := &nodePod{name: "shop/early", number: 1, annotations: injected()}
			m.start(t, p)
			m.onlyPrimary(t)
			w := m.watch(t, t.TempDir(), test.before, append(test.args, "--cni-cache="+cmp.Or(test.cache, m.cache))...)
			defer w.end(t)
			w.says(t, test.says, 1)
			m.onlyPrimary(t)
			w.says(t, "added to ", 2)
			// A second look says the same.
			time.Sleep(6 * time.Second)
			if said := w.said(t); strings.Count(said, "nobody can tell") > 1 || strings.Contains(said, "captured shop/early, which") {
				t.Errorf("said\n%s", said)
			}
			if reports, _ := m.auditJSON(t); reports[p.file()].State != "uncaptured" {
				t.Errorf("the pod is %s", reports[p.file()].State)
			}
		})
	}
}
