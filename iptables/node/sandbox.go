package node

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/cni"
	"github.com/meshtables/meshtables/iptables/pod"
)

// Sandbox is the process that has a pod's network stack, if that is not the one of its network
// namespace: gVisor's kernel, or the monitor of a virtual machine. It takes packets off the
// namespace's interface before, or past, all rules there.
type Sandbox struct {
	PID int `json:"pid"`
	// Program is its executable, by its path on the machine.
	Program string `json:"program"`
}

// String says what follows from it, as a sentence without full stop.
func (s *Sandbox) String() string {
	return fmt.Sprintf("the pod's network stack is its sandbox's (%s, process %d), which rules of the node do not reach", path.Base(s.Program), s.PID)
}

// sandboxPrograms are patterns of the names of executables that have a network stack of their
// own: gVisor's, which may be in a file of its own (runsc/gvisorbinaries), and the monitors that
// Kata Containers starts in the pod's network namespace.
func sandboxPrograms() []string {
	return []string{
		"runsc", "gvisor_sentry", "gvisor_sentry_*", "gvisor-sentry-*",
		"qemu-system-*", "qemu-kvm", "cloud-hypervisor", "firecracker", "stratovirt", kataShim,
	}
}

// kataShim is Kata's program beside each pod. It is outside the pod's network namespace, but its
// monitor of virtual machines, if it has one built in (Dragonball), is a thread of it inside.
const kataShim = "containerd-shim-kata-v2"

// sandboxOf returns the sandbox among processes; nil if there is none. The name of a process, and
// that of its executable, are for whoever runs in a container to choose, and KubeVirt runs virtual
// machines in containers whose traffic does meet the namespace's rules. So the executable has to
// be the machine's own file, or started by such a one.
func (n *Node) sandboxOf(processes []int) *Sandbox {
	for _, pid := range slices.Sorted(slices.Values(processes)) {
		program, own := n.executable(pid)
		if own && isSandboxProgram(program) {
			return &Sandbox{pid, program}
		}
		// Firecracker's jailer runs a copy of it with a root of its own.
		if parent, own := n.executable(n.parent(pid)); own && path.Base(parent) == kataShim {
			return &Sandbox{pid, parent}
		}
	}
	return nil
}

func isSandboxProgram(program string) bool {
	return slices.ContainsFunc(sandboxPrograms(), func(pattern string) bool {
		ok, _ := path.Match(pattern, path.Base(program))
		return ok
	})
}

// deleted is what the kernel appends to the path of an executable that is not there any more
// (d_path in fs/d_path.c), as after an upgrade.
const deleted = " (deleted)"

// executable returns the path of a process's executable, and whether it is a file of the machine
// and not of a container. Of one that has been replaced only the file system can be compared.
func (n *Node) executable(pid int) (program string, own bool) {
	link := filepath.Join(n.processFolder(pid), "exe")
	program, err := os.Readlink(link)
	if err != nil || !isSandboxProgram(strings.TrimSuffix(program, deleted)) {
		return program, false
	}
	program, replaced := strings.CutSuffix(program, deleted)
	there := filepath.Join(n.processFolder(1), "root", program)
	if replaced {
		there = filepath.Dir(there)
	}
	var running, file unix.Stat_t
	if unix.Stat(link, &running) != nil || unix.Stat(there, &file) != nil {
		return program, false
	}
	return program, running.Dev == file.Dev && (replaced || running.Ino == file.Ino)
}

// parent returns the process that started another, or 0.
func (n *Node) parent(pid int) int {
	// proc_pid_stat(5): the name, in parentheses, may have any character.
	text, err := os.ReadFile(filepath.Join(n.processFolder(pid), "stat"))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(fields[1])
	return parent
}

// addMonitors adds what threads of a process on the machine's own network are in: those that
// monitor a virtual machine.
func (f *finder) addMonitors(pid int) {
	program, own := f.node.executable(pid)
	if !own || path.Base(program) != kataShim {
		return
	}
	folder := filepath.Join(f.node.processFolder(pid), "task")
	threads, err := os.ReadDir(folder)
	if err != nil {
		// It has ended.
		return
	}
	for _, t := range threads {
		p := f.at(filepath.Join(folder, t.Name(), "ns", "net"), ByProcesses)
		if p != nil && !slices.Contains(p.processes, pid) {
			p.processes = append(p.processes, pid)
		}
	}
}

// judgeSandboxed is for a pod whose network stack is its sandbox's. Nobody can tell from the
// machine what is inside. It is wrong if the pod asks the machine to capture it: an init container
// of the pod's own writes rules inside, or fails and stops the pod.
func (x *examination) judgeSandboxed(found *pod.Found) {
	r := x.report
	for _, a := range x.pod.addresses {
		// gVisor takes them off the interface (runsc/sandbox/network.go).
		if text := a.String(); !slices.Contains(r.Addresses, text) {
			r.Addresses = append(r.Addresses, text)
		}
	}
	switch {
	case x.wish.policy != nil:
		x.name(x.wish.policy)
	case x.wish.known, x.nameInstalled(found) == nil:
		r.State = NotInMesh
		return
	}
	x.describe(found)
	r.State, r.Traffic = Sandboxed, nil
	if settled := x.settledElsewhere(); settled != "" {
		r.Why += "; its network stack is its sandbox's, and " + settled
		return
	}
	r.add(InSandbox, r.Sandbox.String(), "to capture it: let an init container of the pod write the rules inside, as deploy/README.md says, or run it without a sandbox")
}

// isBesideSandbox reports whether the namespace is no pod's, but that of a helper of a sandbox:
// gVisor's gofers, which open files for it, have one each.
func (x *examination) isBesideSandbox() bool {
	r := x.report
	return r.Sandbox != nil && r.State == NotInMesh && r.Name == "" && slices.Equal(r.FoundIn, []Source{ByProcesses})
}

// settledElsewhere says who captures a sandboxed pod, as far as somebody has said so; "" if nobody
// has.
func (x *examination) settledElsewhere() string {
	switch s := x.auditor.Settings; {
	case x.wish.policy != nil && x.wish.by == capture.ThePod:
		return "its init container writes the rules inside"
	case s != nil && s.Sandboxed() != cni.SandboxedFail:
		return fmt.Sprintf("the plugin's entry says that somebody sees to that: \"sandboxed\": %q", s.Sandboxed())
	}
	return ""
}
