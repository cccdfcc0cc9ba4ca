// Package cache reads what the library of container runtimes (libcni) keeps about the pods of a
// machine: what it called the plugins with, and what they returned. A runtime removes an entry
// when it has ended the pod.
//
// Nothing in it is trusted: it is input, written from what users of the cluster say.
package cache

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
	"github.com/meshtables/meshtables/iptables/internal/files"
)

// Default is the folder of the cache on most machines (CacheDir in libcni/api.go).
const Default = "/var/lib/cni"

// Attachment is what an entry says: which pod has which network namespace. There is one for
// each interface that plugins have made in it.
type Attachment struct {
	// Entry is the file of the entry.
	Entry string
	// Namespace, Name and UID are those of the pod in Kubernetes.
	Namespace, Name, UID string
	Container            string
	// Annotations are nil if the entry has none: the runtime did not hand them over.
	Annotations map[string]string
	// File is the file of the network namespace.
	File      string
	Addresses []netip.Addr
	// config is the configuration that the plugins were called with.
	config json.RawMessage
}

// Broken is an entry that says nothing.
type Broken struct {
	Path string
	// Why says what is wrong with it.
	Why string
}

// The limits of what is read of a folder. The annotations of a pod have at most 256 KiB
// (TotalAnnotationSizeLimitB in k8s.io/apimachinery), and a machine has some hundred pods
// with a few interfaces each.
const (
	MaxEntry   = 1 << 20
	MaxEntries = 50_000
)

// resultsFolder is the folder in the cache (getCacheFilePath in libcni/api.go).
const resultsFolder = "results"

// Read reads all entries of the cache in a folder, in the order of their names. Those that
// nobody can read are in broken. A machine without a cache has no entries.
func Read(folder string) (all []Attachment, broken []Broken, err error) {
	folder = filepath.Join(folder, resultsFolder)
	names, err := files.Names(folder, MaxEntries)
	if err != nil {
		return nil, nil, fmt.Errorf("failed to read libcni's cache: %w", err)
	}
	for _, name := range names {
		a, err := readEntry(folder, name)
		switch {
		case errors.Is(err, fs.ErrNotExist) && !isThere(folder, name):
			// The pod has ended meanwhile.
		case errors.Is(err, fs.ErrNotExist):
			broken = append(broken, Broken{filepath.Join(folder, name), "must be a regular file, but is a link to nothing in this folder"})
		case err != nil:
			broken = append(broken, Broken{filepath.Join(folder, name), err.Error()})
		default:
			a.Entry = filepath.Join(folder, name)
			all = append(all, a)
		}
	}
	return all, broken, nil
}

// Newest returns when an entry of a network was last written, or the zero time if there is none
// that anybody can see. The names of entries begin with the network's.
func Newest(folder, network string) (newest time.Time) {
	folder = filepath.Join(folder, resultsFolder)
	names, err := files.Names(folder, MaxEntries)
	if err != nil {
		return newest
	}
	for _, name := range names {
		info, err := os.Lstat(filepath.Join(folder, name))
		if err == nil && strings.HasPrefix(name, network+"-") && info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	return newest
}

// isThere reports whether a folder has that name, wherever it leads.
func isThere(folder, name string) bool {
	_, err := os.Lstat(filepath.Join(folder, name))
	return err == nil
}

// settled is how old an entry must be to be taken as it is. libcni writes it in place, so a
// younger one may be half written.
const settled = 2 * time.Second

// readEntry reads an entry, and does not leave the folder for it.
func readEntry(folder, name string) (a Attachment, err error) {
	const attempts = 5
	for range attempts {
		var text []byte
		text, err = host.File{Root: folder, Path: "/" + name}.Read(MaxEntry)
		if err != nil {
			return a, files.Reason(err)
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

// entry is the part of an entry that matters here (cachedInfo in libcni/api.go). It is read by
// these names, whatever their case.
type entry struct {
	Kind, ContainerID string
	// NetNS is written by newer versions of libcni. That of containerd 1.6 leaves it to the
	// interfaces.
	NetNS string
	// Config is left as it is: most readers do not need it.
	Config         json.RawMessage
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
func parseEntry(text []byte) (a Attachment, err error) {
	var e entry
	if err := json.Unmarshal(text, &e); err != nil {
		return a, fmt.Errorf("must be JSON as libcni writes it: %w", err)
	}
	if e.Kind != cacheKind {
		return a, fmt.Errorf("kind %q: must be %s", config.Shorten(e.Kind), cacheKind)
	}
	a = Attachment{Container: e.ContainerID, File: e.file(), config: e.Config}
	if notes, ok := e.CapabilityArgs[cni.AnnotationsCapability]; ok {
		if err := json.Unmarshal(notes, &a.Annotations); err != nil {
			return a, fmt.Errorf("%s: must be an object of texts", cni.AnnotationsCapability)
		}
		if a.Annotations == nil {
			// A pod without any.
			a.Annotations = make(map[string]string)
		}
	}
	for _, arg := range e.CNIArgs {
		switch arg[0] {
		case "K8S_POD_NAMESPACE":
			a.Namespace = arg[1]
		case "K8S_POD_NAME":
			a.Name = arg[1]
		case "K8S_POD_UID":
			a.UID = arg[1]
		}
	}
	for _, ip := range e.Result.IPs {
		if p, err := netip.ParsePrefix(ip.Address); err == nil && len(a.Addresses) < MaxAddresses {
			a.Addresses = append(a.Addresses, p.Addr())
		}
	}
	return a, a.check()
}

// MaxAddresses is how many addresses of a pod are listed.
const MaxAddresses = 16

// check returns an error about what is not as Kubernetes and the specification have it.
func (a *Attachment) check() error {
	for _, c := range []struct {
		what, value string
		ok          bool
	}{
		{"containerId", a.Container, isContainer(a.Container)},
		{"K8S_POD_NAMESPACE", a.Namespace, a.Namespace == "" || IsNamespace(a.Namespace)},
		{"K8S_POD_NAME", a.Name, a.Name == "" || IsName(a.Name)},
		{"K8S_POD_UID", a.UID, a.UID == "" || isUID(a.UID)},
		{"netns", a.File, a.File == "" || isPath(a.File)},
	} {
		if !c.ok {
			return fmt.Errorf("%s %q: is not valid", c.what, config.Shorten(c.value))
		}
	}
	return nil
}

// WithoutRepeated leaves out the broken entries of containers that another entry tells of: each
// interface of a pod has one, also its loopback interface. Their names are "NETWORK-CONTAINER-INTERFACE".
func WithoutRepeated(broken []Broken, all []Attachment) []Broken {
	return slices.DeleteFunc(broken, func(f Broken) bool {
		name := filepath.Base(f.Path)
		return slices.ContainsFunc(all, func(a Attachment) bool { return strings.Contains(name, "-"+a.Container+"-") })
	})
}
