package install

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/google/go-cmp/cmp"
)

// load returns the types of the plugins that a runtime would start a pod with: those of the first
// file. An older one does not read the folders of networks.
func (n *Node) load(older bool) ([]string, error) {
	files, err := libcni.ConfFiles(n.Networks, extensions)
	if err != nil || len(files) == 0 {
		return nil, errors.Join(err, errors.New("there is no network"))
	}
	slices.Sort(files)
	var list *libcni.NetworkConfigList
	switch text, err := os.ReadFile(files[0]); {
	case err != nil:
		return nil, err
	case filepath.Ext(files[0]) != listExtension:
		var one struct{ Type string }
		err := json.Unmarshal(text, &one)
		return []string{one.Type}, err
	case older:
		if list, err = libcni.ConfListFromBytes(text); err != nil {
			return nil, err
		}
	default:
		if list, err = libcni.NetworkConfFromFile(files[0]); err != nil {
			return nil, err
		}
	}
	var types []string
	for _, p := range list.Plugins {
		types = append(types, p.Network.Type)
	}
	return types, nil
}

// runtime reads the folder again and again, as a runtime does that is told of every change, until
// the returned function ends it. That one returns an error if the plugin was not there at any time.
// A file that is gone since its name was read is none that a runtime takes.
func (n *Node) runtime(older bool) (end func() error) {
	stop, result := make(chan struct{}), make(chan error, 1)
	go func() {
		var err error
		loads := 0
		for ; err == nil; loads++ {
			types, loadErr := n.load(older)
			switch {
			case errors.Is(loadErr, fs.ErrNotExist):
			case loadErr != nil:
				err = loadErr
			case !slices.Contains(types, PluginName):
				err = fmt.Errorf("load %d: the chain is %q", loads, types)
			}
			select {
			case <-stop:
				result <- err
				return
			default:
			}
		}
		result <- err
	}()
	return func() error {
		close(stop)
		return <-result
	}
}

// leaveMark does what the plugin does when a runtime runs it by the drop-in.
func (n *Node) leaveMark(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(n.markFile(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func tokenOf(t *testing.T, network string) string {
	t.Helper()
	text, err := token(network)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// tree returns all files below the folder of networks, and folders, with what they have.
func (n *Node) tree(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(n.Networks, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == n.Networks {
			return err
		}
		name, _ := filepath.Rel(n.Networks, path)
		if e.IsDir() {
			all[name+"/"] = ""
			return nil
		}
		text, err := os.ReadFile(path)
		all[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// From every mode to every other, whatever the network plugin's file is like, no pod that starts is
// uncaptured, and nothing of the old mode is left. Uninstalling leaves every byte as it was.
func TestModes(t *testing.T) {
	t.Parallel()
	files := networkFiles()
	files["10-single.conf"] = `{"cniVersion": "1.0.0", "name": "single", "type": "ptp"}` + "\n"
	for name, text := range files {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := map[string]string{name: text, "99-other.conflist": `{"name": "other", "plugins": [{"type": "x"}]}`}
			n := newNode(t, before)
			c, err := parseChain(name, text)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := n.Install(NewEntry()); err != nil {
				t.Fatal(err)
			}
			// Every step from one to another is in it.
			for _, mode := range []Mode{ModeOwn, ModeEntry, ModeDropIn, ModeOwn, ModeDropIn, ModeEntry} {
				from := n.Mode
				var ends []func() error
				for _, older := range []bool{false, true} {
					ends = append(ends, n.runtime(older))
				}
				n.Mode = mode
				e := NewEntry()
				e.LogLevel = "debug"
				if _, err := n.Install(e); err != nil {
					t.Fatalf("from %q to %s: %v", from, mode, err)
				}
				if done, err := n.Install(e); err != nil || done.Changed() {
					t.Errorf("%s again: got %+v, %v", mode, done, err)
				}
				if done, err := n.Mend(NewEntry()); err != nil || done.Changed() {
					t.Errorf("%s, mending what another version has: got %+v, %v", mode, done, err)
				}
				if err := n.Check(); err != nil {
					t.Errorf("%s: %v", mode, err)
				}
				for _, end := range ends {
					if err := end(); err != nil {
						t.Errorf("from %q to %s: %v", from, mode, err)
					}
				}
				want := map[Mode]map[string]string{
					ModeEntry:  {listFile(name): PluginName},
					ModeOwn:    {name: "", OwnFile: PluginName},
					ModeDropIn: {listFile(name): PluginName, c.name + "/": "", c.name + "/" + DropInFile: PluginName},
				}[mode]
				want["99-other.conflist"] = ""
				got := n.tree(t)
				if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
					t.Errorf("from %q to %s: want (-), got (+):\n%s", from, mode, diff)
				}
				for file, has := range want {
					if strings.Contains(got[file], PluginName) != (has != "") {
						t.Errorf("from %q to %s: %s has %s", from, mode, file, got[file])
					}
				}
				if mode == ModeOwn && got[name] != text {
					t.Errorf("the network plugin's file is %s", got[name])
				}
			}
			for _, mode := range Modes() {
				n.Mode = mode
				if _, err := n.Install(NewEntry()); err != nil {
					t.Fatal(err)
				}
				if done, err := n.Uninstall(false); err != nil || done.Program == "" {
					t.Errorf("uninstalling %s: %+v, %v", mode, done, err)
				}
				if diff := cmp.Diff(before, n.tree(t)); diff != "" {
					t.Errorf("uninstalling %s: before (-), after (+):\n%s", mode, diff)
				}
				if err := n.CheckUninstalled(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// Our own file follows the network plugin's, and is left as it is while that is not there.
func TestOwnFollows(t *testing.T) {
	t.Parallel()
	files := networkFiles()
	n := newNode(t, map[string]string{"10-kindnet.conflist": files["10-kindnet.conflist"]})
	n.Mode = ModeOwn
	e := NewEntry()
	e.LogLevel = "debug"
	if _, err := n.Install(e); err != nil {
		t.Fatal(err)
	}
	wantMode(t, n.ownFile(), 0o640)
	own := func() string { return n.files(t)[OwnFile] }
	changed := strings.Replace(files["10-kindnet.conflist"], "10.244.0.0/24", "10.244.7.0/24", 1)
	n.put(t, "10-kindnet.conflist", changed)
	if err := n.Check(); err == nil || !strings.Contains(err.Error(), "is not made from") {
		t.Errorf("before mending: %v", err)
	}
	// Another version mends it: what the entry says stays.
	if done, err := n.Mend(NewEntry()); err != nil || !slices.Equal(done.Networks, []string{n.ownFile()}) {
		t.Errorf("got %+v, %v", done, err)
	}
	if text := own(); !strings.Contains(text, "10.244.7.0/24") || !strings.Contains(text, `"name": "kindnet"`) || !strings.Contains(text, `"logLevel": "debug"`) {
		t.Errorf("got %s", text)
	}
	if got := n.files(t)["10-kindnet.conflist"]; got != changed {
		t.Errorf("the network plugin's file is %s", got)
	}
	before := own()
	for _, broken := range []string{"", changed[:30]} {
		n.put(t, "10-kindnet.conflist", broken)
		if _, err := n.Mend(e); !errors.Is(err, errNoChain) || own() != before {
			t.Errorf("half written: %v, %s", err, own())
		}
	}
	if err := os.Remove(filepath.Join(n.Networks, "10-kindnet.conflist")); err != nil {
		t.Fatal(err)
	}
	const gone = "there is no network configuration beside "
	if _, err := n.Mend(e); !errors.Is(err, ErrNoNetwork) || !strings.HasPrefix(err.Error(), gone) || own() != before {
		t.Errorf("gone: %v, %s", err, own())
	}
	if err := n.Check(); !errors.Is(err, ErrNoNetwork) {
		t.Errorf("gone: %v", err)
	}
	// Another network plugin comes instead.
	n.put(t, "10-calico.conflist", files["10-calico.conflist"])
	if _, err := n.Mend(e); err != nil || !strings.Contains(own(), "k8s-pod-network") || n.Check() != nil {
		t.Errorf("another: %v, %v, %s", err, n.Check(), own())
	}
}

// Where a file of our own would not be read, or would lead Multus to itself, it is refused. Who
// stays captures the pods all the same, and says what is wrong.
func TestOwnUnfit(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ text, want string }{
		"00-first.conflist": {networkFiles()["05-cilium.conflist"], "comes before 00-meshtables.conflist by name"},
		"00-multus.conf":    {multus, "is the file of Multus"},
	} {
		before := map[string]string{name: test.text, "10-kindnet.conflist": networkFiles()["10-kindnet.conflist"]}
		n := newNode(t, before)
		n.Mode = ModeOwn
		if done, err := n.Install(NewEntry()); err == nil || !strings.HasPrefix(err.Error(), "nothing was changed: ") || !strings.Contains(err.Error(), test.want) || done.Changed() {
			t.Errorf("%s: got %+v, %v", name, done, err)
		}
		if diff := cmp.Diff(before, n.tree(t)); diff != "" {
			t.Errorf("%s: before (-), after (+):\n%s", name, diff)
		}
		if done, err := n.Mend(NewEntry()); err == nil || !strings.Contains(err.Error(), test.want) || len(done.Networks) != 1 {
			t.Errorf("%s: mending: got %+v, %v", name, done, err)
		}
		if types, err := n.load(true); err != nil || !slices.Contains(types, PluginName) {
			t.Errorf("%s: the chain is %q, %v", name, types, err)
		}
		if err := n.Check(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: check: %v", name, err)
		}
	}
}

// The entry goes when the runtime has shown that it reads the drop-in, and comes back when nobody
// can tell any more.
func TestDropIn(t *testing.T) {
	t.Parallel()
	n := newNode(t, map[string]string{"10-calico.conflist": networkFiles()["10-calico.conflist"]})
	n.Mode = ModeDropIn
	const network = "k8s-pod-network"
	results := filepath.Join(n.Cache, "results")
	if err := os.Mkdir(results, 0o700); err != nil {
		t.Fatal(err)
	}
	started := func(of string, ago time.Duration) {
		t.Helper()
		file := filepath.Join(results, of+"-c0ffee-eth0")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		when := time.Now().Add(-ago)
		if err := os.Chtimes(file, when, when); err != nil {
			t.Fatal(err)
		}
	}
	aged := func(file string) {
		t.Helper()
		if err := os.Chtimes(file, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	wantEntry := func(when, why string) {
		t.Helper()
		done, err := n.Mend(NewEntry())
		c, readErr := readChain(filepath.Join(n.Networks, "10-calico.conflist"))
		if err != nil || readErr != nil || !strings.HasPrefix(done.Unread, why) || (done.Unread == "") != (why == "") || c.has() != (why != "") {
			t.Errorf("%s: %+v, %v, %v; the entry is there: %t", when, done, err, readErr, c.has())
		}
		if err := n.Check(); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		if types, err := n.load(false); err != nil || !slices.Contains(types, PluginName) {
			t.Errorf("%s: the chain is %q, %v", when, types, err)
		}
	}
	drop := filepath.Join(n.Networks, network, DropInFile)
	started(network, time.Hour)
	if done, err := n.Install(NewEntry()); err != nil || len(done.Networks) != 2 || done.Unread == "" {
		t.Fatalf("got %+v, %v", done, err)
	}
	wantEntry("at first", "no pod has started with it yet")
	aged(drop)
	started(network, time.Minute)
	wantEntry("an older runtime", "a pod has started without it: libcni reads drop-ins since 1.3")
	n.leaveMark(t, "other "+tokenOf(t, network))
	wantEntry("another mark", "a pod has started without it")
	n.leaveMark(t, tokenOf(t, network))
	wantEntry("a mark", "")
	// The network plugin writes its file again.
	n.put(t, "10-calico.conflist", networkFiles()["10-calico.conflist"])
	wantEntry("written again", "")
	if err := os.Remove(drop); err != nil {
		t.Fatal(err)
	}
	wantEntry("the drop-in is taken away", "")
	aged(n.markFile())
	started(network, time.Hour)
	started("another", 0)
	wantEntry("a pod of another network", "")
	started(network, 0)
	wantEntry("a pod without it", "a pod has started without it, so")
	n.leaveMark(t, tokenOf(t, network))
	wantEntry("a pod with it", "")
	n.leaveMark(t, network+" before the reboot")
	wantEntry("a reboot", "no pod has started with it yet")
	n.leaveMark(t, tokenOf(t, network))
	for value, why := range map[string]string{"true": "loadOnlyInlinedPlugins is true", `"True"`: "loadOnlyInlinedPlugins is true", "false": ""} {
		n.put(t, "10-calico.conflist", strings.Replace(networkFiles()["10-calico.conflist"], "{", `{"loadOnlyInlinedPlugins": `+value+",", 1))
		c, err := readChain(filepath.Join(n.Networks, "10-calico.conflist"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := n.unread(c); err != nil || got != why {
			t.Errorf("loadOnlyInlinedPlugins %s: %q, %v", value, got, err)
		}
	}
	for _, bad := range []string{"../x", "a/b", ".hidden", ""} {
		n.put(t, "10-calico.conflist", fmt.Sprintf(`{"name": %q, "plugins": [{"type": "a"}]}`, bad))
		if _, err := n.Install(NewEntry()); err == nil || !strings.Contains(err.Error(), "cannot be that of a folder") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// While it watches in each mode, pods are captured whatever somebody writes or takes away.
func TestWatchModes(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{ModeOwn, ModeDropIn} {
		n := newNode(t, networkFiles())
		n.Mode = mode
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if err := n.Watch(ctx, NewEntry(), func(_ Done, err error) {
				if err != nil && !errors.Is(err, errNoChain) {
					t.Errorf("%s: %v", mode, err)
				}
			}); err != nil {
				t.Error(err)
			}
		})
		awaitInstalled(t, n)
		if mode == ModeDropIn {
			n.leaveMark(t, tokenOf(t, "cilium"))
			await(t, func() bool { return !strings.Contains(n.files05(t), PluginName) })
		}
		for _, file := range []string{n.ownFile(), filepath.Join(n.Networks, "cilium", DropInFile)} {
			if _, err := os.Stat(file); err != nil {
				continue
			}
			time.Sleep(2 * quarrel)
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			awaitInstalled(t, n)
		}
		time.Sleep(2 * quarrel)
		n.put(t, "05-cilium.conflist", strings.Replace(networkFiles()["05-cilium.conflist"], "false", "true", 1))
		awaitInstalled(t, n)
		types, err := n.load(false)
		if err != nil || !slices.Equal(types, []string{"cilium-cni", PluginName}) {
			t.Errorf("%s: the chain is %q, %v", mode, types, err)
		}
		if got := n.files05(t); strings.Contains(got, PluginName) {
			t.Errorf("%s: the network plugin's file is %s", mode, got)
		}
		cancel()
		all.Wait()
	}
}

func (n *Node) files05(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(n.Networks, "05-cilium.conflist"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func await(t *testing.T, is func() bool) {
	t.Helper()
	for range 1000 {
		if is() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("it does not come true")
}
