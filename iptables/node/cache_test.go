package node

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// sample is an entry as version 1.3 of libcni writes it.
const sample = `{"kind":"cniCacheV1","containerId":"0a1b","config":"e30=","ifName":"eth0","networkName":"net",` +
	`"netns":"/var/run/netns/cni-1","cniArgs":[["IgnoreUnknown","1"],["K8S_POD_NAMESPACE","shop"],["K8S_POD_NAME","cart-7d9f"],["K8S_POD_UID","9a-b"]],` +
	`"capabilityArgs":{"dns":{},"io.kubernetes.cri.pod-annotations":{"a":"b"}},` +
	`"result":{"cniVersion":"1.0.0","ips":[{"address":"10.244.0.7/24","gateway":"10.244.0.1"},{"address":"fd00::7/64"}]}}`

func TestParseEntry(t *testing.T) {
	t.Parallel()
	a, err := parseEntry([]byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	got := []string{a.namespace, a.name, a.uid, a.container, a.file, a.annotations["a"], a.addresses[0].String(), a.addresses[1].String()}
	if diff := cmp.Diff([]string{"shop", "cart-7d9f", "9a-b", "0a1b", "/var/run/netns/cni-1", "b", "10.244.0.7", "fd00::7"}, got); diff != "" {
		t.Error(diff)
	}
	if a, err := parseEntry([]byte(strings.Replace(sample, `{"a":"b"}`, "null", 1))); err != nil || a.annotations == nil {
		t.Errorf("a pod without annotations: %v, %v", a.annotations, err)
	}
	if a, err := parseEntry([]byte(strings.Replace(sample, "io.kubernetes.cri.pod-annotations", "other", 1))); err != nil || a.annotations != nil {
		t.Errorf("a runtime that does not hand them over: %v, %v", a.annotations, err)
	}
}

// An entry of the libcni in containerd 1.6 names the namespace in the interfaces only. Those on
// the node have none.
func TestParseOlderEntry(t *testing.T) {
	t.Parallel()
	text := strings.Replace(sample, `"netns":"/var/run/netns/cni-1",`, "", 1)
	text = strings.Replace(text, `"ips":`, `"interfaces":[{"name":"vethb4a52e5b","mac":"de:5f:e6:85:4f:29"},`+
		`{"name":"eth0","mac":"06:b7:6e:3b:0a:57","sandbox":"/var/run/netns/cni-2"}],"ips":`, 1)
	if a, err := parseEntry([]byte(text)); err != nil || a.file != "/var/run/netns/cni-2" {
		t.Errorf("got %q, %v", a.file, err)
	}
	if a, err := parseEntry([]byte(strings.Replace(text, "/var/run/netns", "../netns", 1))); err == nil {
		t.Errorf("got %q", a.file)
	}
}

// What is not as Kubernetes has it is refused, not used.
func TestParseEntryRefuses(t *testing.T) {
	t.Parallel()
	for change, want := range map[[2]string]string{
		{`"cniCacheV1"`, `"other"`}:                     `kind "other": must be cniCacheV1`,
		{`"0a1b"`, `""`}:                                `containerId "": is not valid`,
		{`"0a1b"`, `"../x"`}:                            `containerId "../x": is not valid`,
		{`"shop"`, `"Shop"`}:                            `K8S_POD_NAMESPACE "Shop": is not valid`,
		{`"shop"`, `"` + strings.Repeat("a", 64) + `"`}: `K8S_POD_NAMESPACE "` + strings.Repeat("a", 60) + `...": is not valid`,
		{`"cart-7d9f"`, `"a\u001b[2J"`}:                 `K8S_POD_NAME "a\x1b[2J": is not valid`,
		{`"cart-7d9f"`, `"a/b"`}:                        `K8S_POD_NAME "a/b": is not valid`,
		{`"9a-b"`, `"$(id)"`}:                           `K8S_POD_UID "$(id)": is not valid`,
		{`"/var/run`, `"var/run`}:                       `netns "var/run/netns/cni-1": is not valid`,
		{`"/var/run`, `"/var/../run`}:                   `netns "/var/../run/netns/cni-1": is not valid`,
		{`{"a":"b"}`, `["a"]`}:                          `io.kubernetes.cri.pod-annotations: must be an object of texts`,
		{`[["IgnoreUnknown","1"],`, `[[1],`}:            `must be JSON as libcni writes it: json: cannot unmarshal number into Go struct field entry.CNIArgs of type string`,
	} {
		text := strings.Replace(sample, change[0], change[1], 1)
		if text == sample {
			t.Fatalf("%q is not in the sample", change[0])
		}
		if _, err := parseEntry([]byte(text)); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", change[1], err, want)
		}
	}
}

// No entry makes the reader fail in another way than by an error, and what it takes is valid.
func FuzzParseEntry(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(`{"kind":"cniCacheV1","cniArgs":null,"result":{"ips":[{"address":"::/999"}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := parseEntry(text)
		if err != nil {
			return
		}
		if a.check() != nil || len(a.addresses) > maxAddresses {
			t.Errorf("%s is taken as %v", text, a)
		}
		for _, name := range []string{a.namespace, a.name, a.uid, a.container} {
			if strings.ContainsAny(name, "/\x00\x1b\n \"") {
				t.Errorf("%q is taken for a name", name)
			}
		}
	})
}

// A folder is read whatever is in it: links do not lead out of it, and nothing else than files is
// opened.
func TestReadCache(t *testing.T) {
	t.Parallel()
	n := Node{Cache: t.TempDir()}
	if all, broken, err := n.readCache(); len(all)+len(broken) > 0 || err != nil {
		t.Errorf("no cache: %v, %v, %v", all, broken, err)
	}
	folder := filepath.Join(n.Cache, resultsFolder)
	outside := filepath.Join(t.TempDir(), "outside")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(-time.Hour)
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	write(outside, sample)
	write(filepath.Join(folder, "net-0a1b-eth0"), sample)
	write(filepath.Join(folder, "cni-loopback-0a1b-lo"), sample[:30])
	write(filepath.Join(folder, "net-other-eth0"), "{")
	write(filepath.Join(folder, "net-long-eth0"), strings.Repeat(" ", maxEntry+1))
	if err := os.Symlink(outside, filepath.Join(folder, "net-link-eth0")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(folder, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	all, broken, err := n.readCache()
	if err != nil || len(all) != 1 || all[0].name != "cart-7d9f" {
		t.Errorf("got %v, %v", all, err)
	}
	var got []string
	for _, b := range broken {
		got = append(got, filepath.Base(b.Path)+": "+b.Why)
	}
	want := []string{
		"folder: must be a regular file, but is a directory",
		"net-long-eth0: must have at most 1024 KiB",
		"net-other-eth0: must be JSON as libcni writes it: unexpected end of JSON input",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// An entry that is being written is read when it is whole.
func TestReadCacheWaits(t *testing.T) {
	t.Parallel()
	n := Node{Cache: t.TempDir()}
	file := filepath.Join(n.Cache, resultsFolder, "net-0a1b-eth0")
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(sample[:50]), 0o600); err != nil {
		t.Fatal(err)
	}
	go func() {
		time.Sleep(settled / 20)
		_ = os.WriteFile(file, []byte(sample), 0o600)
	}()
	if all, broken, err := n.readCache(); len(all) != 1 || len(broken) > 0 || err != nil {
		t.Errorf("got %v, %v, %v", all, broken, err)
	}
}

// The sample is JSON, so that what is refused is refused for what was changed.
func TestSample(t *testing.T) {
	t.Parallel()
	if !json.Valid([]byte(sample)) {
		t.Error(sample)
	}
}

func TestParseName(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		"shop/cart-7d9f": true, "shop/cart.v1": true, "cart": false, "shop/": false, "/cart": false, "shop/a/b": false,
		"Shop/cart": false, "shop/../x": false, "shop.x/cart": false,
	} {
		if err := ParseName(text); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}
