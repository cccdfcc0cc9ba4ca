package cache

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
	got := []string{a.Namespace, a.Name, a.UID, a.Container, a.File, a.Annotations["a"], a.Addresses[0].String(), a.Addresses[1].String()}
	if diff := cmp.Diff([]string{"shop", "cart-7d9f", "9a-b", "0a1b", "/var/run/netns/cni-1", "b", "10.244.0.7", "fd00::7"}, got); diff != "" {
		t.Error(diff)
	}
	if a, err := parseEntry([]byte(strings.Replace(sample, `{"a":"b"}`, "null", 1))); err != nil || a.Annotations == nil {
		t.Errorf("a pod without annotations: %v, %v", a.Annotations, err)
	}
	if a, err := parseEntry([]byte(strings.Replace(sample, "io.kubernetes.cri.pod-annotations", "other", 1))); err != nil || a.Annotations != nil {
		t.Errorf("a runtime that does not hand them over: %v, %v", a.Annotations, err)
	}
}

// An entry of the libcni in containerd 1.6 names the namespace in the interfaces only. Those on
// the node have none.
func TestParseOlderEntry(t *testing.T) {
	t.Parallel()
	text := strings.Replace(sample, `"netns":"/var/run/netns/cni-1",`, "", 1)
	text = strings.Replace(text, `"ips":`, `"interfaces":[{"name":"vethb4a52e5b","mac":"de:5f:e6:85:4f:29"},`+
		`{"name":"eth0","mac":"06:b7:6e:3b:0a:57","sandbox":"/var/run/netns/cni-2"}],"ips":`, 1)
	if a, err := parseEntry([]byte(text)); err != nil || a.File != "/var/run/netns/cni-2" {
		t.Errorf("got %q, %v", a.File, err)
	}
	if a, err := parseEntry([]byte(strings.Replace(text, "/var/run/netns", "../netns", 1))); err == nil {
		t.Errorf("got %q", a.File)
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
		if a.check() != nil || len(a.Addresses) > MaxAddresses {
			t.Errorf("%s is taken as %v", text, a)
		}
		for _, name := range []string{a.Namespace, a.Name, a.UID, a.Container} {
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
	dir := t.TempDir()
	if all, broken, err := Read(dir); len(all)+len(broken) > 0 || err != nil {
		t.Errorf("no cache: %v, %v, %v", all, broken, err)
	}
	folder := filepath.Join(dir, resultsFolder)
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
	write(filepath.Join(folder, "net-long-eth0"), strings.Repeat(" ", MaxEntry+1))
	if err := os.Symlink(outside, filepath.Join(folder, "net-link-eth0")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(folder, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	all, broken, err := Read(dir)
	if err != nil || len(all) != 1 || all[0].Name != "cart-7d9f" {
		t.Errorf("got %v, %v", all, err)
	}
	if len(broken) != 5 || filepath.Base(broken[0].Path) != "cni-loopback-0a1b-lo" {
		t.Errorf("broken: %v", broken)
	}
	var got []string
	for _, b := range WithoutRepeated(broken, all) {
		got = append(got, filepath.Base(b.Path)+": "+b.Why)
	}
	want := []string{
		"folder: must be a regular file, but is a directory",
		"net-link-eth0: must be a regular file, but is a link to nothing in this folder",
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
	dir := t.TempDir()
	file := filepath.Join(dir, resultsFolder, "net-0a1b-eth0")
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
	if all, broken, err := Read(dir); len(all) != 1 || len(broken) > 0 || err != nil {
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
