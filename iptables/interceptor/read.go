package interceptor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/internal/bpf"
	"github.com/meshtables/meshtables/iptables/internal/rtnetlink"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// Reader reads what traffic of network namespaces meets. What cannot be read is no error: it is in
// the result. Its methods may be called from several goroutines.
type Reader struct {
	// A node has a mount for each pod, so they are listed once.
	mounts struct {
		once sync.Once
		all  []mount
		err  error
	}
}

// Read looks for the processes in the network namespace, for their cgroups.
func (r *Reader) Read(ctx context.Context, ns *namespace.Namespace) Found {
	processes := slices.Collect(host.OtherProcesses(ns))
	if len(processes) == 0 && ns.IsOwn() {
		processes = []string{"/proc/self"}
	}
	if len(processes) == 0 {
		unknown := reading{Reader: r, ctx: ctx, ns: ns}
		unknown.fail(ofCgroups, errors.New("no process of the network namespace can be seen here"))
		return unknown.read(nil)
	}
	return r.ReadOf(ctx, ns, processes)
}

// ReadOf is Read for somebody who knows the processes. They are directories of procfs.
func (r *Reader) ReadOf(ctx context.Context, ns *namespace.Namespace, processes []string) Found {
	known := reading{Reader: r, ctx: ctx, ns: ns}
	return known.read(processes)
}

// reading collects what is found in one network namespace.
type reading struct {
	*Reader
	ctx   context.Context
	ns    *namespace.Namespace
	found Found
	// links are the interfaces that have traffic.
	links []rtnetlink.Link
	// unread are kinds of programs that could not be read, by the reason.
	unread []unread
}

type unread struct {
	reason string
	kinds  []string
}

// The kinds of programs, in words.
const (
	ofCgroups    = "cgroups"
	ofInterfaces = "interfaces"
	ofTCX        = "TCX"
	ofNamespace  = "sk_lookup"
)

func (r *reading) read(processes []string) Found {
	r.try(ofCgroups, r.readCgroups(processes))
	r.try(ofInterfaces, r.readInterfaces())
	// The kernel takes the index of an interface as one of the calling thread's.
	r.try(ofTCX, r.ns.Do(r.readTCX))
	r.try(ofNamespace, r.readNamespace())
	slices.SortStableFunc(r.found.Programs, func(a, b Program) int {
		return cmp.Compare(hookIndex(a.Hook), hookIndex(b.Hook))
	})
	r.nameAll()
	for _, u := range r.unread {
		r.found.Unread = append(r.found.Unread, fmt.Sprintf("the BPF programs of %s could not be read: %s", iptables.Enumerate(u.kinds), u.reason))
	}
	return r.found
}

func (r *reading) try(kind string, err error) {
	if err != nil {
		r.fail(kind, err)
	}
}

// fail remembers that programs could not be read.
func (r *reading) fail(kind string, err error) {
	reason := reasonOf(err)
	i := slices.IndexFunc(r.unread, func(u unread) bool { return u.reason == reason })
	if i < 0 {
		i = len(r.unread)
		r.unread = append(r.unread, unread{reason: reason})
	}
	r.unread[i].kinds = append(r.unread[i].kinds, kind)
}

func reasonOf(err error) string {
	switch {
	case errors.Is(err, unix.EPERM):
		return "this needs the capability NET_ADMIN outside of user namespaces, and BPF or SYS_ADMIN too where bpf(2) is restricted"
	case errors.Is(err, unix.ENOSYS):
		return "there is no bpf(2) here"
	case errors.Is(err, unix.EINVAL):
		return "this kernel cannot list them"
	}
	if failed := (*fs.PathError)(nil); errors.As(err, &failed) {
		return fmt.Sprintf("%s: %v", failed.Path, failed.Err)
	}
	return err.Error()
}

// add adds a program, once for each place.
func (r *reading) add(p Program) {
	same := func(other Program) bool {
		return other.ID == p.ID && other.Hook == p.Hook && other.Cgroup == p.Cgroup && other.Above == p.Above && other.Interface == p.Interface
	}
	if !slices.ContainsFunc(r.found.Programs, same) {
		r.found.Programs = append(r.found.Programs, p)
	}
}

// readInterfaces reads the programs at interfaces, apart from those of TCX.
func (r *reading) readInterfaces() error {
	links, err := rtnetlink.Links(r.ctx, r.ns)
	if err != nil {
		return err
	}
	r.links = slices.DeleteFunc(links, func(l rtnetlink.Link) bool { return !l.IsUp() })
	for _, l := range r.links {
		for _, id := range l.XDP {
			r.addAt(hookNamed(hookXDP), l, id)
		}
	}
	filters, err := rtnetlink.Filters(r.ctx, r.ns)
	if err != nil {
		return err
	}
	for _, f := range filters {
		at := slices.IndexFunc(r.links, func(l rtnetlink.Link) bool { return l.Index == f.Link })
		if at >= 0 {
			r.addFilter(r.links[at], f)
		}
	}
	return nil
}

func (r *reading) addAt(h hook, l rtnetlink.Link, id uint32) {
	p := h.program(id)
	p.Interface = iptables.Printable(l.Name)
	r.add(p)
}

func (r *reading) addFilter(l rtnetlink.Link, f rtnetlink.Filter) {
	h := hookNamed(hookTCIngress)
	if f.Egress {
		h = hookNamed(hookTCEgress)
	}
	p := h.program(f.Program)
	p.Interface, p.Name = iptables.Printable(l.Name), iptables.Printable(f.Name)
	if f.DirectAction {
		p.Flags = []string{"direct-action"}
	}
	r.add(p)
}

func (r *reading) readTCX() error {
	for _, h := range hooks() {
		if h.place != atInterface || h.at == 0 {
			continue
		}
		for _, l := range r.links {
			attached, err := bpf.Attached(l.Index, h.at)
			switch {
			case errors.Is(err, unix.EINVAL):
				// Before Linux 6.6 there is no TCX, and so no program of it.
				return nil
			case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENOENT):
				// Nothing is attached, or the interface has been removed meanwhile.
				continue
			case err != nil:
				return err
			}
			for _, id := range attached.Programs {
				r.addAt(h, l, id)
			}
		}
	}
	return nil
}

// readNamespace reads the programs of the network namespace itself.
func (r *reading) readNamespace() error {
	file, err := r.ns.File()
	if err != nil {
		return err
	}
	for _, h := range hooks() {
		if h.place != atNamespace {
			continue
		}
		attached, err := bpf.Attached(uint32(file.Fd()), h.at)
		if errors.Is(err, unix.EINVAL) {
			// Before Linux 5.9 there are none.
			continue
		}
		if err != nil {
			return err
		}
		for _, id := range attached.Programs {
			r.add(h.program(id))
		}
	}
	return nil
}

// nameAll asks for the names of the programs.
func (r *reading) nameAll() {
	names := make(map[uint32]string)
	for i := range r.found.Programs {
		p := &r.found.Programs[i]
		name, known := names[p.ID]
		if !known {
			var err error
			if name, err = bpf.Name(p.ID); errors.Is(err, unix.EPERM) {
				r.sayNameless()
			}
			// One that has ended meanwhile has no name either.
			names[p.ID] = name
		}
		if name != "" {
			p.Name = iptables.Printable(name)
		}
		p.describe()
	}
}

func (r *reading) sayNameless() {
	const text = "the names of BPF programs could not be read: this needs the capability SYS_ADMIN outside of user namespaces"
	if !slices.Contains(r.found.Unread, text) {
		r.found.Unread = append(r.found.Unread, text)
	}
}
