package intercept

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Cgroup is a cgroup that goes with the test.
type Cgroup struct {
	// Folder is where it is, and Name its path in the hierarchy.
	Folder, Name string
}

// NewCgroup makes a cgroup below that of this process, which nobody else is in. It returns an
// error if cgroups of version 2 are not mounted here.
func NewCgroup(t testing.TB) (*Cgroup, error) {
	t.Helper()
	top, err := hierarchy()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp(top, "meshtables-")
	if err != nil {
		return nil, err
	}
	return newCgroup(t, folder, "/"+filepath.Base(folder)), nil
}

// Below makes a cgroup in another.
func (c *Cgroup) Below(t testing.TB, name string) *Cgroup {
	t.Helper()
	folder := filepath.Join(c.Folder, name)
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return newCgroup(t, folder, c.Name+"/"+name)
}

func newCgroup(t testing.TB, folder, name string) *Cgroup {
	t.Cleanup(func() {
		// The processes in it have ended, and the kernel may not have noticed yet.
		err := os.Remove(folder)
		for range 100 {
			if !errors.Is(err, unix.EBUSY) {
				break
			}
			unix.Nanosleep(&unix.Timespec{Nsec: 10e6}, nil)
			err = os.Remove(folder)
		}
		if err != nil {
			t.Error(err)
		}
	})
	return &Cgroup{folder, name}
}

// hierarchy returns where cgroups of version 2 are mounted.
func hierarchy() (string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); strings.Contains(line, " - cgroup2 ") && fields[3] == "/" {
			return fields[4], nil
		}
	}
	return "", errors.New("cgroups of version 2 are not mounted here")
}

// Enter returns a script that moves the shell that runs it into the cgroup.
func (c *Cgroup) Enter() string { return fmt.Sprintf("echo $$ >%s/cgroup.procs", c.Folder) }

// Attach attaches a program to the cgroup, until detach is called or the test ends.
func (c *Cgroup) Attach(t testing.TB, at ebpf.AttachType, p *ebpf.Program) (detach func()) {
	t.Helper()
	l, err := link.AttachCgroup(link.CgroupOptions{Path: c.Folder, Attach: at, Program: p})
	return detaching(t, l, err)
}

// AttachAlone attaches a program as the only one, in a way that cgroups below may override.
func (c *Cgroup) AttachAlone(t testing.TB, at ebpf.AttachType, p *ebpf.Program) {
	t.Helper()
	folder, err := os.Open(c.Folder)
	if err != nil {
		t.Fatal(err)
	}
	err = link.RawAttachProgram(link.RawAttachProgramOptions{Target: int(folder.Fd()), Program: p, Attach: at, Flags: unix.BPF_F_ALLOW_OVERRIDE})
	if err != nil {
		t.Fatal("failed to attach a BPF program: ", err)
	}
	t.Cleanup(func() {
		defer folder.Close()
		if err := link.RawDetachProgram(link.RawDetachProgramOptions{Target: int(folder.Fd()), Program: p, Attach: at}); err != nil {
			t.Error(err)
		}
	})
}

// ToNamespace attaches a program of sk_lookup to a network namespace, given its file.
func ToNamespace(t testing.TB, file string, p *ebpf.Program) (detach func()) {
	t.Helper()
	ns, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	l, err := link.AttachNetNs(int(ns.Fd()), p)
	return detaching(t, l, err)
}

// Do calls a function on a thread in a network namespace.
type Do func(func() error) error

// TCX attaches a program to an interface of a network namespace.
func TCX(t testing.TB, in Do, name string, at ebpf.AttachType, p *ebpf.Program) (detach func()) {
	t.Helper()
	return toInterface(t, in, name, func(index int) (io.Closer, error) {
		return link.AttachTCX(link.TCXOptions{Interface: index, Attach: at, Program: p})
	})
}

// XDP is the same where packets come first.
func XDP(t testing.TB, in Do, name string, p *ebpf.Program) (detach func()) {
	t.Helper()
	return toInterface(t, in, name, func(index int) (io.Closer, error) {
		return link.AttachXDP(link.XDPOptions{Interface: index, Program: p, Flags: link.XDPGenericMode})
	})
}

func toInterface(t testing.TB, in Do, name string, attach func(index int) (io.Closer, error)) (detach func()) {
	t.Helper()
	var l io.Closer
	err := in(func() error {
		i, err := netlink.LinkByName(name)
		if err == nil {
			l, err = attach(i.Attrs().Index)
		}
		return err
	})
	return detaching(t, l, err)
}

// TC attaches a program as tc(8) does.
func TC(t testing.TB, in Do, name string, egress bool, p *ebpf.Program, title string) (detach func()) {
	t.Helper()
	parent := uint32(netlink.HANDLE_MIN_INGRESS)
	if egress {
		parent = netlink.HANDLE_MIN_EGRESS
	}
	return toInterface(t, in, name, func(index int) (io.Closer, error) {
		clsact := &netlink.GenericQdisc{
			QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT},
			QdiscType:  "clsact",
		}
		added := &netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: parent, Handle: 1, Protocol: unix.ETH_P_ALL, Priority: 1},
			Fd:          p.FD(), Name: title, DirectAction: true,
		}
		here, err := netlink.NewHandle()
		return &filter{here, added}, errors.Join(err, netlink.QdiscReplace(clsact), netlink.FilterAdd(added))
	})
}

// filter is a filter of tc(8) that is taken away as a link is.
type filter struct {
	// in is the network namespace.
	in    *netlink.Handle
	added netlink.Filter
}

func (f *filter) Close() error {
	defer f.in.Close()
	return f.in.FilterDel(f.added)
}

// detaching returns what ends a link, once. A link ends with its last file, and a process that was
// just started may have a copy of that for a moment, so it is detached first.
func detaching(t testing.TB, l io.Closer, err error) func() {
	t.Helper()
	if err != nil {
		t.Fatal("failed to attach a BPF program: ", err)
	}
	detach := sync.OnceFunc(func() {
		if attached, ok := l.(link.Link); ok {
			if err := attached.Detach(); err != nil {
				t.Error(err)
			}
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(detach)
	return detach
}
