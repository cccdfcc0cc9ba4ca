package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/meshtables/meshtables/iptables/cni"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/host"
)

// attachment is what an entry of the cache says: which pod has which network namespace. There
// is one for each interface that plugins have made in it.
type attachment struct {
	namespace, name, uid string
	container            string
	// annotations are nil if the entry has none: the runtime did not hand them over.
	annotations map[string]string
	// file is the file of the network namespace.
	file      string
	addresses []netip.Addr
}

// CacheFile is an entry of the cache that says nothing.
type CacheFile struct {
	Path string
	// Why says what is wrong with it.
	Why string
}

// The limits of what is read. The annotations of a pod have at most 256 KiB
// (TotalAnnotationSizeLimitB in k8s.io/apimachinery), and a machine has some hundred pods
// with a few interfaces each.
const (
	maxEntry   = 1 << 20
	maxEntries = 50_000
)

// resultsFolder is the folder in the cache (getCacheFilePath in libcni/api.go).
const resultsFolder = "results"

// readCache reads all entries, in the order of their names. Those that nobody can read are in
// broken. A machine without a cache has no entries.
func (n *Node) readCache() (all []attachment, broken []CacheFile, err error) {
	folder := filepath.Join(n.Cache, resultsFolder)
	names, err := namesIn(folder)
	if err != nil {
		return nil, nil, fmt.Errorf("failed to read libcni's cache: %w", err)
	}
	for _, name := range names {
		a, err := readEntry(folder, name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			// The pod has ended meanwhile.
		case err != nil:
			broken = append(broken, CacheFile{filepath.Join(folder, name), err.Error()})
		default:
			all = append(all, a)
		}
	}
	return all, withoutRepeated(broken, all), nil
}

// namesIn returns the names in a folder, which need not be there.
func namesIn(folder string) ([]string, error) {
	dir, err := os.Open(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(maxEntries)
	if len(names) == maxEntries {
		return nil, fmt.Errorf("%s: must have fewer than %d files", folder, maxEntries)
	}
	slices.Sort(names)
	if len(names) > 0 {
		err = nil
	}
	return names, ignoreEnd(err)
}

// settled is how old an entry must be to be taken as it is. libcni writes it in place, so a
// younger one may be half written.
const settled = 2 * time.Second

// readEntry reads an entry, and does not leave the folder for it.
func readEntry(folder, name string) (a attachment, err error) {
	const attempts = 5
	for range attempts {
		var text []byte
		text, err = host.File{Root: folder, Path: "/" + name}.Read(maxEntry)
		if err != nil {
			return a, reason(err)
		}
		if a, err = parseEntry(text); err == nil {
			return a, nil
		}
		info, statErr := os.Lstat(filepath.Join(folder, name))
		if statErr != nil || time.Since(info.ModTime()) > settled {
			return a, err
		}
		time.Sleep(settled / 20)
	}
	return a, err
}

// reason returns an error without the operation and the path.
func reason(err error) error {
	if failed := (*fs.PathError)(nil); errors.As(err, &failed) {
		return failed.Err
	}
	return err
}

// entry is the part of an entry that matters here (cachedInfo in libcni/api.go). It is read by
// these names, whatever their case.
type entry struct {
	Kind, ContainerID string
	// NetNS is written by newer versions of libcni. That of containerd 1.6 leaves it to the
	// interfaces.
	NetNS          string
	CNIArgs        [][2]string
	CapabilityArgs map[string]json.RawMessage
	Result         struct {
		Interfaces []struct{ Sandbox string }
		IPs        []struct{ Address string }
	}
}

// file returns the file of the network namespace: the sandbox of an interface of the pod, which
// those on the node do not have (SPEC.md, "Success").
func (e *entry) file() string {
	for _, i := range e.Result.Interfaces {
		if e.NetNS == "" && i.Sandbox != "" {
			return i.Sandbox
		}
	}
	return e.NetNS
}

// cacheKind is the kind of all entries (CNICacheV1 in libcni/api.go).
const cacheKind = "cniCacheV1"

// parseEntry reads an entry and checks everything that is used of it.
func parseEntry(text []byte) (a attachment, err error) {
	var e entry
	if err := json.Unmarshal(text, &e); err != nil {
		return a, fmt.Errorf("must be JSON as libcni writes it: %w", err)
	}
	if e.Kind != cacheKind {
		return a, fmt.Errorf("kind %q: must be %s", config.Shorten(e.Kind), cacheKind)
	}
	a = attachment{container: e.ContainerID, file: e.file()}
	if notes, ok := e.CapabilityArgs[cni.AnnotationsCapability]; ok {
		if err := json.Unmarshal(notes, &a.annotations); err != nil {
			return a, fmt.Errorf("%s: must be an object of texts", cni.AnnotationsCapability)
		}
		if a.annotations == nil {
			// A pod without any.
			a.annotations = make(map[string]string)
		}
	}
	for _, arg := range e.CNIArgs {
		switch arg[0] {
		case "K8S_POD_NAMESPACE":
			a.namespace = arg[1]
		case "K8S_POD_NAME":
			a.name = arg[1]
		case "K8S_POD_UID":
			a.uid = arg[1]
		}
	}
	for _, ip := range e.Result.IPs {
		if p, err := netip.ParsePrefix(ip.Address); err == nil && len(a.addresses) < maxAddresses {
			a.addresses = append(a.addresses, p.Addr())
		}
	}
	return a, a.check()
}

// maxAddresses is how many addresses of a pod are listed.
const maxAddresses = 16

// check returns an error about what is not as Kubernetes and the specification have it.
func (a *attachment) check() error {
	for _, c := range []struct {
		what, value string
		ok          bool
	}{
		{"containerId", a.container, isContainer(a.container)},
		{"K8S_POD_NAMESPACE", a.namespace, a.namespace == "" || IsNamespace(a.namespace)},
		{"K8S_POD_NAME", a.name, a.name == "" || IsName(a.name)},
		{"K8S_POD_UID", a.uid, a.uid == "" || isUID(a.uid)},
		{"netns", a.file, a.file == "" || isPath(a.file)},
	} {
		if !c.ok {
			return fmt.Errorf("%s %q: is not valid", c.what, config.Shorten(c.value))
		}
	}
	return nil
}

// withoutRepeated leaves out the broken entries of containers that another entry tells of: each
// interface of a pod has one, also its loopback interface. Their names are "NETWORK-CONTAINER-INTERFACE".
func withoutRepeated(broken []CacheFile, all []attachment) []CacheFile {
	return slices.DeleteFunc(broken, func(f CacheFile) bool {
		name := filepath.Base(f.Path)
		return slices.ContainsFunc(all, func(a attachment) bool { return strings.Contains(name, "-"+a.container+"-") })
	})
}
