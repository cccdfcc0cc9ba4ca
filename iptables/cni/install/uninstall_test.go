package install

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meshtables/meshtables/iptables/cni/cache"
)

// Chains as pods were started with.
const (
	ours   = `{"name":"pods","plugins":[{"type":"ptp"},{"type":"meshtables"}]}`
	theirs = `{"name":"pods","plugins":[{"type":"ptp","ipam":{"type":"meshtables"}},{"type":"meshtables2"}]}`
)

// remember writes an entry of the cache as libcni does, and returns its file.
func (n *Node) remember(t *testing.T, container, device, chain string) (file string) {
	t.Helper()
	return n.writeEntry(t, "pods-"+container+"-"+device, fmt.Sprintf(`{"kind":"cniCacheV1","containerId":%q,"config":%q,"ifName":%q,"networkName":"pods",`+
		`"netns":"/run/netns/gone","cniArgs":[["K8S_POD_NAMESPACE","shop"],["K8S_POD_NAME","cart-0"]],"result":{}}`,
		container, base64.StdEncoding.EncodeToString([]byte(chain)), device))
}

// writeEntry writes a file of the cache that is not new.
func (n *Node) writeEntry(t *testing.T, name, text string) (file string) {
	t.Helper()
	file = filepath.Join(n.Cache, "results", name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(file, old, old); err != nil {
		t.Fatal(err)
	}
	return file
}

// newInstalled makes a node with the plugin.
func newInstalled(t *testing.T) *Node {
	t.Helper()
	n := newNode(t, map[string]string{"a.conflist": `{"name":"n","plugins":[{"type":"a"}]}`})
	if _, err := n.Install(NewEntry()); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *Node) hasProgram() bool {
	_, err := os.Stat(n.Program())
	return err == nil
}

func forget(t *testing.T, file string) {
	t.Helper()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
}

// The entry goes at once. The program stays as long as a pod was started with it, and force
// does not wait for that.
func TestUninstallKeepsProgram(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fill func(*testing.T, *Node)
		pods int
	}{
		"no entries":         {func(*testing.T, *Node) {}, 0},
		"one":                {func(t *testing.T, n *Node) { n.remember(t, "a1", "eth0", ours) }, 1},
		"several interfaces": {func(t *testing.T, n *Node) { n.remember(t, "a1", "eth0", ours); n.remember(t, "a1", "net1", ours) }, 1},
		"a single plugin":    {func(t *testing.T, n *Node) { n.remember(t, "a1", "eth0", `{"name":"pods","type":"meshtables"}`) }, 1},
		"other plugins":      {func(t *testing.T, n *Node) { n.remember(t, "a1", "eth0", theirs); n.remember(t, "a1", "lo", `{}`) }, 0},
		"three of four": {func(t *testing.T, n *Node) {
			for i, chain := range []string{ours, ours, theirs, ours} {
				n.remember(t, fmt.Sprint("a", i), "eth0", chain)
			}
		}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newInstalled(t)
			test.fill(t, n)
			for i := range 2 {
				done, err := n.Uninstall(false)
				if err != nil || done.Pods != test.pods || done.Unknown != nil || done.Kept != (test.pods > 0) || n.hasProgram() != (test.pods > 0) {
					t.Errorf("got %+v, %v, program: %v", done, err, n.hasProgram())
				}
				if len(done.Networks) != 1-i {
					t.Errorf("networks: %q", done.Networks)
				}
			}
			if strings.Contains(n.files(t)["a.conflist"], PluginName) {
				t.Error("the entry stays")
			}
			if err := n.CheckUninstalled(); (err == nil) != (test.pods == 0) {
				t.Errorf("check: %v", err)
			}
			if test.pods == 0 {
				return
			}
			if done, err := n.Uninstall(true); err != nil || done.Pods != test.pods || done.Kept || done.Program != n.Program() || n.hasProgram() {
				t.Errorf("force: got %+v, %v", done, err)
			}
			if err := n.CheckUninstalled(); err != nil {
				t.Errorf("check: %v", err)
			}
		})
	}
}

// When the last pod has ended, the program goes too.
func TestUninstallAgain(t *testing.T) {
	t.Parallel()
	n := newInstalled(t)
	files := []string{n.remember(t, "a1", "eth0", ours), n.remember(t, "a2", "eth0", ours)}
	for i, file := range files {
		if done, err := n.Uninstall(false); err != nil || done.Pods != 2-i || !n.hasProgram() {
			t.Errorf("got %+v, %v", done, err)
		}
		forget(t, file)
	}
	if done, err := n.Uninstall(false); err != nil || done.Pods != 0 || done.Kept || done.Program != n.Program() || n.hasProgram() {
		t.Errorf("got %+v, %v", done, err)
	}
}

// Whatever cannot be read may name the program, so it stays, and the reason is told. Nothing
// outside the cache is read.
func TestUninstallUnknown(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		spoil func(*testing.T, *Node)
		want  string
	}{
		"no cache": {func(t *testing.T, n *Node) { n.Cache = filepath.Join(n.Cache, "nowhere") }, "no such file or directory"},
		"no folder": {func(t *testing.T, n *Node) {
			if err := os.WriteFile(filepath.Join(n.Cache, "results"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "not a directory"},
		"half":     {func(t *testing.T, n *Node) { n.writeEntry(t, "pods-a1-eth0", `{"kind":`) }, "pods-a1-eth0: must be JSON as libcni writes it"},
		"empty":    {func(t *testing.T, n *Node) { n.writeEntry(t, "pods-a1-eth0", "") }, "pods-a1-eth0: must be JSON as libcni writes it"},
		"huge":     {func(t *testing.T, n *Node) { n.writeEntry(t, "pods-a1-eth0", strings.Repeat(" ", cache.MaxEntry+1)) }, "must have at most 1024 KiB"},
		"a folder": {func(t *testing.T, n *Node) { forget(t, n.writeEntry(t, "x/y", "")) }, "is a directory"},
		"another kind": {func(t *testing.T, n *Node) {
			n.writeEntry(t, "pods-a1-eth0", `{"kind":"other\u001b[2J","containerId":"a1","config":"e30="}`)
		}, `kind "other\x1b[2J": must be cniCacheV1`},
		"base64": {func(t *testing.T, n *Node) {
			n.writeEntry(t, "pods-a1-eth0", `{"kind":"cniCacheV1","containerId":"a1","config":"%%%"}`)
		}, "pods-a1-eth0: config: must be the configuration of a network in base64"},
		"a link": {func(t *testing.T, n *Node) {
			outside := newNode(t, nil).remember(t, "a1", "eth0", theirs)
			n.remember(t, "a2", "eth0", theirs)
			if err := os.Symlink(outside, filepath.Join(n.Cache, "results", "pods-a1-eth0")); err != nil {
				t.Fatal(err)
			}
		}, "pods-a1-eth0: must be a regular file, but is a link"},
		// That of its loopback interface says nothing about what else the pod needs.
		"half, of a pod with another": {func(t *testing.T, n *Node) {
			n.remember(t, "a1", "lo", theirs)
			n.writeEntry(t, "pods-a1-eth0", "{")
		}, "pods-a1-eth0: must be JSON"},
		"two": {func(t *testing.T, n *Node) { n.writeEntry(t, "a", "{"); n.writeEntry(t, "b", "{") }, "results/a: must be JSON as libcni writes it: unexpected end of JSON input, and 1 more like it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newInstalled(t)
			test.spoil(t, n)
			done, err := n.Uninstall(false)
			if err != nil || !done.Kept || done.Pods != 0 || done.Unknown == nil || !strings.Contains(done.Unknown.Error(), test.want) || !n.hasProgram() {
				t.Errorf("got %+v, %v, want %s", done, err, test.want)
			}
			if len(done.Networks) != 1 {
				t.Errorf("networks: %q", done.Networks)
			}
			if err := n.CheckUninstalled(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("check: %v", err)
			}
			if done, err := n.Uninstall(true); err != nil || done.Kept || done.Unknown == nil || n.hasProgram() {
				t.Errorf("force: got %+v, %v", done, err)
			}
			// Without the program nobody asks the cache.
			if done, err := n.Uninstall(false); err != nil || done.Changed() || done.Kept || done.Unknown != nil {
				t.Errorf("again: got %+v, %v", done, err)
			}
		})
	}
	n := newInstalled(t)
	n.remember(t, "a1", "eth0", ours)
	n.writeEntry(t, "broken", "{")
	if done, err := n.Uninstall(false); err != nil || done.Pods != 1 || done.Unknown == nil || !n.hasProgram() {
		t.Errorf("one and a broken one: got %+v, %v", done, err)
	}
}

// It stays until no pod needs the program. A pod that has started meanwhile, with the chain as
// it was, needs it too; and the entry is taken out again if somebody puts it back.
func TestWatchUninstall(t *testing.T) {
	t.Parallel()
	n := newInstalled(t)
	type told struct {
		done Done
		err  error
	}
	tells := make(chan told, 100)
	next := func() Done {
		t.Helper()
		select {
		case got := <-tells:
			if got.err != nil {
				t.Fatal(got.err)
			}
			return got.done
		case <-time.After(20 * look):
			t.Fatal("nothing is told")
		}
		return Done{}
	}
	ended := make(chan bool)
	go func() {
		n.WatchUninstall(t.Context(), func(done Done, err error) { tells <- told{done, err} })
		close(ended)
	}()
	if got := next(); len(got.Networks) != 1 || !got.Kept || got.Pods != 0 {
		t.Errorf("at first: %+v", got)
	}
	if _, err := n.Install(NewEntry()); err != nil {
		t.Fatal(err)
	}
	if got := next(); len(got.Networks) != 1 || !got.Kept || got.Pods != 0 {
		t.Errorf("put back: %+v", got)
	}
	late := n.remember(t, "a1", "eth0", ours)
	if got := next(); got.Changed() || !got.Kept || got.Pods != 1 {
		t.Errorf("a pod that was starting: %+v", got)
	}
	forget(t, late)
	if got := next(); got.Changed() || !got.Kept || got.Pods != 0 {
		t.Errorf("it has ended: %+v", got)
	}
	if got := next(); got.Program != n.Program() || got.Kept || n.hasProgram() {
		t.Errorf("at last: %+v", got)
	}
	<-ended
}

// Who is told to end leaves the program to those who need it.
func TestWatchUninstallEnds(t *testing.T) {
	t.Parallel()
	n := newInstalled(t)
	n.remember(t, "a1", "eth0", ours)
	ctx, cancel := context.WithCancel(t.Context())
	n.WatchUninstall(ctx, func(Done, error) { cancel() })
	if !n.hasProgram() {
		t.Error("the program is gone")
	}
}
