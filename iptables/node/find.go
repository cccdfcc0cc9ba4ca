package node

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/meshtables/meshtables/iptables/cni/cache"
	"github.com/meshtables/meshtables/iptables/internal/files"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// Pod is a network namespace of the machine, and whose it is.
type Pod struct {
	// Namespace and Name are those of Kubernetes. They are empty if the cache does not tell.
	Namespace, Name string
	// Annotations are nil if they are not known.
	Annotations map[string]string
	// FoundIn says where it was seen.
	FoundIn []Source
	// File is a file of the network namespace.
	File string

	identity identity
	paths    []string
	// processes are those that were seen in it.
	processes []int
	uid       string
	addresses []netip.Addr
	// rivals are other pods to which the cache gives the same namespace.
	rivals []Pod
}

// Source is where a namespace was seen.
type Source string

// The sources.
const (
	InCache     Source = "cache"
	ByName      Source = "netns"
	ByProcesses Source = "process"
)

// String returns NAMESPACE/NAME, or for a namespace of which nobody knows whose it is the path
// of its file.
func (p *Pod) String() string {
	if p.Name == "" {
		return p.File
	}
	return p.Namespace + "/" + p.Name
}

// Found are the namespaces of a machine.
type Found struct {
	// Pods are sorted by their names.
	Pods []Pod
	// Broken are entries of the cache that say nothing about any pod.
	Broken []cache.Broken
}

// Find finds the network namespaces of the machine, apart from its own. It enters none.
func (n *Node) Find(ctx context.Context) (Found, error) {
	attachments, broken, err := cache.Read(n.Cache)
	if err != nil {
		return Found{}, err
	}
	f := finder{node: n, pods: make(map[identity]*Pod)}
	f.leaveOut(n.processFile(1))
	if !f.hasHost {
		// Who may not look at process 1 still knows its own.
		f.leaveOut(filepath.Join(n.Processes, "self", "ns", "net"))
	}
	for i := range attachments {
		f.addAttached(&attachments[i])
	}
	for _, step := range []func() error{f.addNamed, f.addProcesses, ctx.Err} {
		if err := step(); err != nil {
			return Found{}, err
		}
	}
	return Found{f.sorted(), cache.WithoutRepeated(broken, attachments)}, nil
}

// finder collects pods by what their namespaces are.
type finder struct {
	node *Node
	pods map[identity]*Pod
	// host is the machine's own namespace.
	host    identity
	hasHost bool
}

// leaveOut names the machine's namespace by a file of it.
func (f *finder) leaveOut(path string) {
	if id, err := identify(path); err == nil {
		f.host, f.hasHost = id, true
	}
}

// at returns the pod of the namespace that a path leads to, a new one if it was not seen before.
// It returns nil if there is none, or if it is the machine's.
func (f *finder) at(path string, source Source) *Pod {
	id, err := identify(path)
	if err != nil || f.hasHost && id == f.host {
		return nil
	}
	p := f.pods[id]
	if p == nil {
		p = &Pod{File: path, identity: id}
		f.pods[id] = p
	}
	if !slices.Contains(p.FoundIn, source) {
		p.FoundIn = append(p.FoundIn, source)
		p.paths = append(p.paths, path)
	}
	return p
}

// addAttached adds what an entry of the cache tells. A pod that has ended is left out, though
// its entry may have stayed.
func (f *finder) addAttached(a *cache.Attachment) {
	if a.File == "" {
		return
	}
	p := f.at(a.File, InCache)
	if p == nil || a.Name == "" || a.Namespace == "" {
		return
	}
	owner := p
	if p.Name != "" && !p.is(a) {
		i := slices.IndexFunc(p.rivals, func(r Pod) bool { return r.is(a) })
		if i < 0 {
			i = len(p.rivals)
			p.rivals = append(p.rivals, Pod{})
		}
		owner = &p.rivals[i]
	}
	owner.Namespace, owner.Name, owner.uid = a.Namespace, a.Name, a.UID
	if a.Annotations != nil {
		owner.Annotations = a.Annotations
	}
	owner.addresses = append(owner.addresses, a.Addresses...)
}

func (p *Pod) is(a *cache.Attachment) bool {
	return p.Namespace == a.Namespace && p.Name == a.Name && p.uid == a.UID
}

// addNamed adds the namespaces that have a name.
func (f *finder) addNamed() error {
	names, err := files.Names(f.node.Named, cache.MaxEntries)
	for _, name := range names {
		f.at(filepath.Join(f.node.Named, name), ByName)
	}
	return err
}

// addProcesses adds the namespaces of running processes.
func (f *finder) addProcesses() error {
	dir, err := os.Open(f.node.Processes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(1000)
		for _, name := range names {
			if pid, err := strconv.Atoi(name); err == nil {
				if p := f.at(f.node.processFile(pid), ByProcesses); p != nil {
					p.processes = append(p.processes, pid)
				} else {
					f.addMonitors(pid)
				}
			}
		}
		if len(names) == 0 {
			return files.IgnoreEnd(err)
		}
	}
}

// sorted returns the pods by name. Their processes come first among their paths: they have name
// servers.
func (f *finder) sorted() []Pod {
	sorted := slices.SortedFunc(maps.Values(f.pods), func(a, b *Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.File, b.File))
	})
	all := make([]Pod, len(sorted))
	for i, p := range sorted {
		slices.SortStableFunc(p.paths, func(a, b string) int {
			return cmp.Compare(min(1, namespace.ProcessOf(b)), min(1, namespace.ProcessOf(a)))
		})
		all[i] = *p
	}
	return all
}
