package install

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// networkFiles are configurations as network plugins write them, by their names.
func networkFiles() map[string]string {
	return map[string]string{
		"10-kindnet.conflist": `
{
	"cniVersion": "0.3.1",
	"name": "kindnet",
	"plugins": [
	{
		"type": "ptp",
		"ipMasq": false,
		"ipam": {
			"type": "host-local",
			"ranges": [ [ { "subnet": "10.244.0.0/24" } ] ]
		}
		,
		"mtu": 1500
	},
	{
		"type": "portmap",
		"capabilities": { "portMappings": true }
	}
	]
}
`,
		"10-calico.conflist": `{
  "name": "k8s-pod-network",
  "cniVersion": "0.3.1",
  "plugins": [
    {"type": "calico", "log_file_path": "/var/log/calico/cni/cni.log", "policy": {"type": "k8s"}, "plugins": [{"type": "none"}]},
    {"type": "bandwidth", "capabilities": {"bandwidth": true}},
    {"type": "portmap", "snat": true, "capabilities": {"portMappings": true}}
  ]
}`,
		"05-cilium.conflist":   "{\n  \"cniVersion\": \"0.3.1\",\n  \"name\": \"cilium\",\n  \"plugins\": [\n    {\n       \"type\": \"cilium-cni\",\n       \"enable-debug\": false\n    }\n  ]\n}\n",
		"80-one-line.conflist": `{"plugins":[{"type":"bridge"}],"cniVersion":"1.0.0","name":"n","disableCheck":true}`,
	}
}

// multus is what Multus writes: a single plugin.
const multus = `{
        "cniVersion": "0.3.1",
        "name": "multus-cni-network",
        "type": "multus-shim",
        "clusterNetwork": "/host/etc/cni/net.d/10-kindnet.conflist"
}
`

// newNode makes a node with files in its folder of networks.
func newNode(t *testing.T, files map[string]string) *Node {
	t.Helper()
	n := &Node{Plugins: t.TempDir(), Networks: t.TempDir(), Cache: t.TempDir()}
	for name, text := range files {
		n.put(t, name, text)
	}
	return n
}

func (n *Node) put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(n.Networks, name), []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
}

// files returns what is in the folder of networks.
func (n *Node) files(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	entries, err := os.ReadDir(n.Networks)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(n.Networks, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(text)
	}
	return all
}

// Installing adds the entry at the end, once, and leaves every other byte as it is.
// Uninstalling leaves every byte as it was.
func TestInstall(t *testing.T) {
	t.Parallel()
	e := NewEntry()
	e.Options = map[string]string{"excluded-cidrs": "10.0.0.0/8"}
	for name, text := range networkFiles() {
		t.Run(name, func(t *testing.T) {
			before := map[string]string{name: text, "99-other.conflist": `{"name": "other", "plugins": [{"type": "x"}]}`, "README": "text"}
			n := newNode(t, before)
			file := filepath.Join(n.Networks, name)
			if done, err := n.Install(e); err != nil || done.Program != n.Program() || !slices.Equal(done.Networks, []string{file}) {
				t.Fatalf("got %+v, %v", done, err)
			}
			if done, err := n.Install(e); err != nil || done.Changed() {
				t.Errorf("again: got %+v, %v", done, err)
			}
			c, err := readChain(file)
			if err != nil {
				t.Fatal(err)
			}
			last := c.plugins[len(c.plugins)-1]
			if c.count() != 1 || last.name != PluginName || c.without() != text {
				t.Errorf("got %s", c.text)
			}
			if strings.Contains(text, "\n") != strings.Contains(c.text[last.start:last.end], "\n") {
				t.Errorf("an entry of another form: %s", c.text)
			}
			if err := n.Check(); err != nil {
				t.Error(err)
			}
			wantMode(t, file, 0o640)
			wantMode(t, n.Program(), 0o755)
			if done, err := n.Uninstall(false); err != nil || done.Program != n.Program() || !slices.Equal(done.Networks, []string{file}) {
				t.Errorf("uninstall: got %+v, %v", done, err)
			}
			if done, err := n.Uninstall(false); err != nil || done.Changed() {
				t.Errorf("uninstall again: got %+v, %v", done, err)
			}
			if diff := cmp.Diff(before, n.files(t)); diff != "" {
				t.Errorf("before (-), after (+):\n%s", diff)
			}
			if err := n.Check(); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("check: %v", err)
			}
		})
	}
}

func wantMode(t *testing.T, file string, want os.FileMode) {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil || info.Mode() != want {
		t.Errorf("%s: %v, %v, want %v", file, info.Mode(), err, want)
	}
}

// A single plugin becomes a list, under the name that is read in its place, and back.
func TestSinglePlugin(t *testing.T) {
	t.Parallel()
	before := map[string]string{"00-multus.conf": multus, "10-kindnet.conflist": networkFiles()["10-kindnet.conflist"]}
	n := newNode(t, before)
	for i := range 2 {
		if _, err := n.Install(NewEntry()); err != nil {
			t.Fatal(err)
		}
		files := n.files(t)
		if len(files) != 2 || !strings.HasPrefix(files["00-multus.conflist"], "{\n  \"cniVersion\": \"0.3.1\",\n  \"name\": \"multus-cni-network\",\n  \"plugins\": [\n") ||
			!strings.Contains(files["00-multus.conflist"], strings.TrimSpace(multus)) {
			t.Fatalf("got %q", files)
		}
		if i == 0 {
			// Its owner writes it again.
			n.put(t, "00-multus.conf", multus)
		}
	}
	if _, err := n.Uninstall(false); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, n.files(t)); diff != "" {
		t.Errorf("before (-), after (+):\n%s", diff)
	}
}

// Another entry of the plugin is replaced, wherever it is in the chain.
func TestReplaces(t *testing.T) {
	t.Parallel()
	for name, plugins := range map[string]string{
		"other settings": `{"type":"a"},{"type":"meshtables","logLevel":"debug"}`,
		"not the last":   `{"type":"a"},{"type":"meshtables","capabilities":{"io.kubernetes.cri.pod-annotations":true}},{"type":"b"}`,
		"the first":      `{"type":"meshtables"},{"type":"a"}`,
		"twice":          `{"type":"meshtables"},{"type":"a"},{"type":"meshtables"}`,
	} {
		n := newNode(t, map[string]string{"a.conflist": `{"name":"n","plugins":[` + plugins + `]}`})
		if _, err := n.Install(NewEntry()); err != nil {
			t.Fatal(err)
		}
		c, err := readChain(filepath.Join(n.Networks, "a.conflist"))
		if err != nil {
			t.Fatal(err)
		}
		last := c.plugins[len(c.plugins)-1]
		if c.count() != 1 || c.text[last.start:last.end] != NewEntry().text("") {
			t.Errorf("%s: got %s", name, c.text)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		``:                    "is not the configuration of a network: EOF",
		`[]`:                  "is not the configuration of a network: it is no object",
		`{"name": "n"`:        "is not the configuration of a network",
		`{"plugins": []}`:     "it has no plugins",
		`{"plugins": {}}`:     "its plugins are no list",
		`{"plugins": [1]}`:    "cannot unmarshal number",
		`{"plugins": [{}]} x`: "something follows it",
		`{"plugins": [{"type":"a"}],"plugins":[{"type":"b"}]}`: "it has plugins twice",
	} {
		n := newNode(t, map[string]string{"a.conflist": text})
		if _, err := n.Install(NewEntry()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
		if got := n.files(t)["a.conflist"]; got != text || len(n.files(t)) != 1 {
			t.Errorf("%s: got %q", text, n.files(t))
		}
		if done, err := n.Uninstall(false); err != nil || len(done.Networks) > 0 {
			t.Errorf("%s: uninstall: got %+v, %v", text, done, err)
		}
	}
	if _, err := newNode(t, nil).Install(NewEntry()); !errors.Is(err, ErrNoNetwork) {
		t.Errorf("no network: %v", err)
	}
	if _, err := newNode(t, map[string]string{"a.conf": `{"type": "a"}`}).Install(NewEntry()); !errors.Is(err, errNoChain) {
		t.Errorf("no name: %v", err)
	}
}

// The file of that name is taken, whatever the order.
func TestNamedNetwork(t *testing.T) {
	t.Parallel()
	n := newNode(t, map[string]string{"00-a.conflist": `{"plugins": [{"type":"a"}]}`, "10-b.conf": `{"name": "b", "type": "b"}`})
	n.Network = "10-b.conf"
	for range 2 {
		if _, err := n.Install(NewEntry()); err != nil {
			t.Fatal(err)
		}
	}
	if files := n.files(t); strings.Contains(files["00-a.conflist"], PluginName) || !strings.Contains(files["10-b.conflist"], PluginName) {
		t.Errorf("got %q", files)
	}
}

// A change by somebody else at the same time is not lost.
func TestExchange(t *testing.T) {
	t.Parallel()
	n := newNode(t, map[string]string{"a.conflist": "theirs"})
	file := filepath.Join(n.Networks, "a.conflist")
	if err := exchange(file, "before", "ours"); !errors.Is(err, errOther) {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff(map[string]string{"a.conflist": "theirs"}, n.files(t)); diff != "" {
		t.Error(diff)
	}
}

// While it watches, what is taken away comes back, whoever takes it, and however.
func TestWatch(t *testing.T) {
	t.Parallel()
	n := newNode(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan error, 100)
	ended := make(chan error)
	go func() {
		ended <- n.Watch(ctx, NewEntry(), func(_ Done, err error) { told <- err })
	}()
	if err := <-told; !errors.Is(err, ErrNoNetwork) {
		t.Errorf("got %v", err)
	}
	files := networkFiles()
	for _, name := range []string{"10-kindnet.conflist", "10-calico.conflist", "05-cilium.conflist"} {
		// A pause, or it is taken for a quarrel.
		time.Sleep(2 * quarrel)
		n.put(t, name, files[name])
		awaitInstalled(t, n)
		time.Sleep(2 * quarrel)
		// In two parts, as by a program that does not write at once.
		n.put(t, name, files[name][:20])
		time.Sleep(10 * time.Millisecond)
		n.put(t, name, files[name])
		awaitInstalled(t, n)
	}
	time.Sleep(2 * quarrel)
	if err := os.Remove(n.Program()); err != nil {
		t.Fatal(err)
	}
	awaitInstalled(t, n)
	time.Sleep(2 * quarrel)
	n.put(t, "00-multus.conf", multus)
	awaitInstalled(t, n)
	// What another version installs is left alone.
	other := NewEntry()
	other.LogLevel = "debug"
	if _, err := n.Install(other); err != nil {
		t.Fatal(err)
	}
	before := n.files(t)
	time.Sleep(50 * time.Millisecond)
	if diff := cmp.Diff(before, n.files(t)); diff != "" {
		t.Error(diff)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	close(told)
	for err := range told {
		if err != nil {
			t.Errorf("told: %v", err)
		}
	}
}

func awaitInstalled(t *testing.T, n *Node) {
	t.Helper()
	var err error
	for range 1000 {
		if err = n.Check(); err == nil {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal(err)
}
