package interceptor

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/bpf"
)

// mount is where cgroups can be seen: a mount of the hierarchy of version 2 (cgroups(7)).
type mount struct {
	// root is the cgroup at its top, as the files of processes call it.
	root, point string
}

// mountsHere returns those of this process.
func (r *Reader) mountsHere() ([]mount, error) {
	r.mounts.once.Do(func() { r.mounts.all, r.mounts.err = readMounts() })
	return r.mounts.all, r.mounts.err
}

func readMounts() ([]mount, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var all []mount
	for line := range strings.Lines(string(text)) {
		// ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG…] - TYPE SOURCE OPTIONS (proc(5))
		mounted, kind, _ := strings.Cut(line, " - ")
		fields := strings.Fields(mounted)
		if !strings.HasPrefix(kind, "cgroup2 ") || len(fields) < 5 {
			continue
		}
		m := mount{unescape(fields[3]), unescape(fields[4])}
		// Something else may be mounted over it.
		var s unix.Statfs_t
		if unix.Statfs(m.point, &s) == nil && s.Type == unix.CGROUP2_SUPER_MAGIC {
			all = append(all, m)
		}
	}
	return all, nil
}

// unescape undoes what the kernel does to blanks and backslashes in its files (proc(5)).
func unescape(name string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(name)
}

// within returns the path of a cgroup from the top of the mount, such as "/" or "/kubepods/pod7".
func (m *mount) within(cgroup string) (path string, ok bool) {
	root := strings.TrimSuffix(m.root, "/")
	rest, ok := strings.CutPrefix(cgroup, root)
	if !ok || rest != "" && !strings.HasPrefix(rest, "/") || slices.Contains(strings.Split(rest, "/"), "..") {
		return "", false
	}
	return "/" + strings.TrimPrefix(rest, "/"), true
}

// cgroupOf returns the cgroup of a process, given as a directory of procfs. It is not ok if the
// process has ended, or if nobody has mounted cgroups of version 2 yet: then no program is attached
// to one.
func cgroupOf(process string) (cgroup string, ok bool, err error) {
	text, err := os.ReadFile(process + "/cgroup")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			// The kernel marks those that have been removed.
			return unescape(name), !strings.HasSuffix(name, " (deleted)"), nil
		}
	}
	return "", false, nil
}

var (
	errNotMounted = errors.New("cgroups of version 2 are not mounted here")
	errOutside    = errors.New("no mount of cgroups here has those of the processes")
)

// readCgroups reads the programs of the cgroups of processes, and of those above. What a cgroup
// inherits is known even if the cgroup that it comes from cannot be seen.
func (r *reading) readCgroups(processes []string) error {
	cgroups, mounts, err := r.cgroupsOf(processes)
	if err != nil {
		return err
	}
	for _, cgroup := range cgroups {
		// What of one cannot be read may be read of another.
		err = cmp.Or(err, r.readCgroup(mounts, cgroup))
	}
	return err
}

// cgroupsOf returns the cgroups of processes, and the mounts that have them, both as process 1
// calls them.
func (r *reading) cgroupsOf(processes []string) (cgroups []string, mounts []mount, err error) {
	err = asInit(func() error {
		for _, p := range processes {
			cgroup, ok, err := cgroupOf(p)
			if err != nil {
				return err
			}
			if ok && !slices.Contains(cgroups, cgroup) {
				cgroups = append(cgroups, cgroup)
			}
		}
		if len(cgroups) == 0 {
			return nil
		}
		if mounts, err = r.mountsHere(); err == nil && len(mounts) == 0 {
			err = errNotMounted
		}
		return err
	})
	return cgroups, mounts, err
}

// asInit calls a function on a thread to which cgroups have the names that process 1 knows them by
// (cgroup_namespaces(7)). In a container that sees the processes of its node, those of others have
// no names that lead anywhere otherwise. Without CAP_SYS_ADMIN, or with a process 1 of its own, a
// container keeps to its names.
func asInit(f func() error) error {
	init, err := os.Open("/proc/1/ns/cgroup")
	if err != nil {
		return f()
	}
	defer init.Close()
	if own, err := os.Stat("/proc/thread-self/ns/cgroup"); err != nil || isSame(own, init) {
		return f()
	}
	result := make(chan error)
	go func() {
		// The thread ends with the goroutine: nobody else can use it.
		runtime.LockOSThread()
		_ = unix.Setns(int(init.Fd()), unix.CLONE_NEWCGROUP)
		result <- f()
	}()
	return <-result
}

func isSame(info os.FileInfo, file *os.File) bool {
	other, err := file.Stat()
	return err == nil && os.SameFile(info, other)
}

func (r *reading) readCgroup(mounts []mount, cgroup string) error {
	// The mount with the most of the hierarchy shows whose the programs are.
	var point, below string
	for _, m := range mounts {
		if path, ok := m.within(cgroup); ok && len(path) > len(below) {
			point, below = m.point, path
		}
	}
	if below == "" {
		return errOutside
	}
	// The cgroup, and those above it up to the top.
	folders := []*folder{}
	defer func() {
		for _, f := range folders {
			f.file.Close()
		}
	}()
	for at := below; ; at = path.Dir(at) {
		file, err := os.Open(filepath.Join(point, at))
		if errors.Is(err, fs.ErrNotExist) {
			// It has been removed meanwhile.
			return nil
		}
		if err != nil {
			return err
		}
		folders = append(folders, &folder{at, file})
		if at == "/" {
			break
		}
	}
	for _, h := range hooks() {
		if h.place != atCgroup {
			continue
		}
		if err := r.readHook(h, folders); err != nil {
			return err
		}
	}
	return nil
}

// folder is a cgroup that is open.
type folder struct {
	name string
	file *os.File
}

// readHook reads the programs that run for the first of the cgroups, and finds out to which of
// them each is attached.
func (r *reading) readHook(h hook, folders []*folder) error {
	effective, err := bpf.Effective(uint32(folders[0].file.Fd()), h.at)
	if errors.Is(err, unix.EINVAL) && h.at != unix.BPF_CGROUP_INET_INGRESS {
		// A kernel that does not know the hook has no programs there. It has had the one of
		// packets that come in before it could be asked about any (Linux 4.10 and 4.15).
		return nil
	}
	if err != nil || len(effective.Programs) == 0 {
		return err
	}
	left := slices.Clone(effective.Programs)
	owner := make([]Program, len(left))
	for _, f := range folders {
		attached, err := bpf.Attached(uint32(f.file.Fd()), h.at)
		if err != nil {
			return err
		}
		for _, id := range attached.Programs {
			// They run in the order of the cgroups, from below. One can be on several.
			if i := slices.Index(left, id); i >= 0 {
				left[i] = 0
				owner[i] = h.program(id)
				owner[i].Cgroup, owner[i].Flags = iptables.Printable(f.name), attachFlags(attached.Flags)
			}
		}
	}
	for i, id := range left {
		if id != 0 {
			owner[i] = h.program(id)
			owner[i].Cgroup, owner[i].Above = iptables.Printable(folders[len(folders)-1].name), true
		}
	}
	for _, p := range owner {
		r.add(p)
	}
	return nil
}

func attachFlags(flags uint32) []string {
	var names []string
	if flags&unix.BPF_F_ALLOW_OVERRIDE != 0 {
		names = append(names, "override")
	}
	if flags&unix.BPF_F_ALLOW_MULTI != 0 {
		names = append(names, "multi")
	}
	return names
}
