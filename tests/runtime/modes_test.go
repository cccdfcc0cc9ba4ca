package runtime

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"

	"github.com/meshtables/meshtables/tests/lab"
	"github.com/meshtables/meshtables/tests/runtime/node"
)

// installed is a chain that the program installs itself into, in folders of its own.
type installed struct {
	*chain
	networks, cache string
}

// primary is the network as its own plugin writes it.
const primary = `{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "first"}]}`

func newInstalled(t *testing.T) *installed {
	t.Helper()
	c := &installed{chain: newChain(t, "1.0.0", injected()), networks: t.TempDir(), cache: t.TempDir()}
	c.plugins = t.TempDir()
	c.cni = libcni.NewCNIConfigWithCacheDir([]string{c.plugins}, c.cache, c)
	c.reboot()
	return c
}

// reboot writes the network anew, as its plugin does when it starts.
func (c *installed) reboot() {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.networks, "10-pods.conflist"), []byte(primary), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// run runs cni, which must print that first.
func (c *installed) run(want string, words ...string) string {
	c.t.Helper()
	var out bytes.Buffer
	err := c.lab.Peer.Run(c.t.Context(), lab.Command{
		Path: program, Args: append(append([]string{"cni"}, words...), "--plugin-folder="+c.plugins, "--network-folder="+c.networks, "--cni-cache="+c.cache),
		Env: os.Environ(), Stdout: &out, Stderr: &out,
	})
	if err != nil || !strings.HasPrefix(out.String(), want+"\n") {
		c.t.Fatalf("%q: %v, want %q\n%s", words, err, want, &out)
	}
	return out.String()
}

// start starts the pod as a runtime does that takes the first file, and wants the plugin to have
// been called so many times.
func (c *installed) start(times int) {
	c.t.Helper()
	files, err := libcni.ConfFiles(c.networks, []string{".conf", ".conflist"})
	if err != nil {
		c.t.Fatal(err)
	}
	slices.Sort(files)
	if c.list, err = libcni.NetworkConfFromFile(files[0]); err != nil {
		c.t.Fatal(err)
	}
	c.log.Reset()
	if _, err := c.cni.AddNetworkList(c.t.Context(), c.list, c.rt); err != nil {
		c.t.Fatal(err)
	}
	if said := c.log.String(); strings.Count(said, "captured: ") != times {
		c.t.Errorf("the plugin was called another number of times than %d:\n%s", times, said)
	}
}

// end ends the pod with what the cache has, as CRI-O does, whatever is installed now.
func (c *installed) end() {
	c.t.Helper()
	text, rt, err := c.cni.GetNetworkListCachedConfig(&libcni.NetworkConfigList{Name: "pods"}, c.rt)
	if err != nil {
		c.t.Fatal(err)
	}
	list, err := libcni.ConfListFromBytes(text)
	if err == nil {
		err = c.cni.DelNetworkList(c.t.Context(), list, rt)
	}
	if err != nil {
		c.t.Error(err)
	}
}

// A file of our own is there before anything of ours runs, and is the network by its name: the pod
// ends with another file than it was started with.
func TestOwnFile(t *testing.T) {
	t.Parallel()
	c := newInstalled(t)
	c.run("installed\n  program  "+c.plugins+"/meshtables\n  network  "+c.networks+"/00-meshtables.conflist", "install", "--install-mode=own")
	c.start(1)
	c.reboot()
	c.start(1)
	c.end()
	c.start(1)
	c.run("program kept\n  network  "+c.networks+"/00-meshtables.conflist", "uninstall")
	c.end()
	c.run("uninstalled", "uninstall")
	c.start(0)
}

// With a library that reads drop-ins, a pod shows that, and then the entry goes. From then on pods
// are captured whatever the network's plugin writes.
func TestDropIn(t *testing.T) {
	t.Parallel()
	c := newInstalled(t)
	dropIn := []string{"install", "--install-mode=drop-in"}
	if said := c.run("installed", dropIn...); !strings.HasSuffix(said, "\n  entry    is there beside the drop-in: no pod has started with it yet\n") {
		t.Errorf("said %s", said)
	}
	c.run("unchanged\n  entry    is there beside the drop-in: no pod has started with it yet", dropIn...)
	c.start(2)
	c.run("installed\n  not in   "+c.networks+"/10-pods.conflist", dropIn...)
	c.run("unchanged", dropIn...)
	c.start(1)
	c.reboot()
	c.start(1)
	// The cache has the chain without the drop-in, so nobody needs the program to end it.
	c.run("uninstalled\n  program  "+c.plugins+"/meshtables\n  network  "+c.networks+"/pods/99-meshtables.conf", "uninstall")
	c.end()
	for _, folder := range []string{c.plugins, filepath.Join(c.networks, "pods")} {
		if left, err := os.ReadDir(folder); err == nil && len(left) > 0 {
			t.Errorf("%s is left", left[0].Name())
		}
	}
}

// With containerd pods are captured in every mode, and while one follows another. With a file of
// our own they are before anything of ours runs, whatever the network's plugin writes. This
// containerd reads no drop-ins, so the entry stays.
func TestModes(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	before := n.Chain()
	if err := n.WriteChain(before); err != nil {
		t.Fatal(err)
	}
	start(t, n)
	run := func(want string, words ...string) {
		t.Helper()
		if out, err := n.Run(t.Context(), program, installing(n, words...)...); err != nil || !strings.HasPrefix(out, want) {
			t.Fatalf("%q: %v, want %q\n%s", words, err, want, out)
		}
	}
	run("installed", "install", "--install-mode=own")
	if err := n.AwaitChain(t.Context(), isInstalled); err != nil {
		t.Fatal(err)
	}
	modes := []string{"entry", "own", "drop-in", "own", "entry", "drop-in", "entry", "own"}
	pods := 0
	for _, mode := range modes {
		changing := make(chan error, 1)
		go func() {
			out, err := n.Run(t.Context(), program, installing(n, "install", "--install-mode="+mode)...)
			if err != nil {
				err = fmt.Errorf("%s: %w\n%s", mode, err, out)
			}
			changing <- err
		}()
		for changed := false; !changed; pods++ {
			select {
			case err := <-changing:
				if changed = true; err != nil {
					t.Fatal(err)
				}
			default:
			}
			p := startPod(t, n, fmt.Sprintf("pod-%d", pods), injected())
			wantVerified(t, n, p)
			if err := p.Remove(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
	t.Logf("%d pods, %d changes", pods, len(modes))

	// Nobody watches.
	for range 2 {
		changed := strings.Replace(before, `"cniVersion"`, fmt.Sprintf("\"since\": %d,\n  \"cniVersion\"", time.Now().UnixNano()), 1)
		if err := n.WriteChain(changed); err != nil {
			t.Fatal(err)
		}
		wantVerified(t, n, startPod(t, n, fmt.Sprintf("rebooted-%d", pods), injected()))
		pods++
	}
	if err := n.RemovePods(t.Context()); err != nil {
		t.Fatal(err)
	}
	if used := n.UsedAddresses(); len(used) > 0 {
		t.Errorf("addresses are left: %q", used)
	}

	run("installed", "install", "--install-mode=drop-in")
	// As if that was long ago.
	file := filepath.Join(n.Configurations(), "pods", "99-meshtables.conf")
	if err := os.Chtimes(file, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	wantVerified(t, n, startPod(t, n, "dropped-in", injected()))
	run("unchanged\n  entry    is there beside the drop-in: a pod has started without it: libcni reads drop-ins since 1.3\n", "install", "--install-mode=drop-in")
	if text, err := os.ReadFile(filepath.Join(n.Configurations(), node.ChainFile)); err != nil || !isInstalled(string(text)) {
		t.Errorf("%v, %s", err, text)
	}
}
