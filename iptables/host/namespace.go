package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables/namespace"
)

// inits are the programs that run a whole machine as its process 1, by their names
// in /proc/PID/comm. The small ones that run one program in a container (pause,
// tini, dumb-init, catatonit, docker-init) are not in the list.
var inits = []string{
	"systemd", "init", "openrc-init", "sysvinit", "upstart", "runit", "runit-init",
	"s6-svscan", "dinit", "finit", "busybox", "linuxrc", "launchd", "procd",
}

// OwnedByInit reports whether a network namespace looks like a whole machine's:
// process 1 is in it and is an init system. In a container, process 1 is the
// container's own program. In a pod with hostPID it is the machine's, in another
// network namespace.
//
// If /proc hides process 1, OwnedByInit returns false.
func OwnedByInit(ns *namespace.Namespace) (owned bool, err error) {
	err = ns.Do(func() (err error) {
		owned, err = ownedByInit()
		return err
	})
	return owned, err
}

func ownedByInit() (bool, error) {
	init, err := runsMachine()
	if err != nil || !init {
		return false, err
	}
	return sharedWithInit()
}

// initialPIDNamespace is how /proc names the first pid namespace of a kernel
// (PROC_PID_INIT_INO in linux/proc_ns.h).
const initialPIDNamespace = "pid:[4026531836]"

// runsMachine reports whether process 1 is an init system: the kernel's first
// process, whatever its name, or one with the name of an init system, as in
// machines that run in containers.
func runsMachine() (bool, error) {
	if ns, err := os.Readlink("/proc/thread-self/ns/pid"); err == nil && ns == initialPIDNamespace {
		return true, nil
	}
	comm, err := os.ReadFile("/proc/1/comm")
	if err != nil {
		return false, unlessHidden(err)
	}
	return slices.Contains(inits, strings.TrimSpace(string(comm))), nil
}

func sharedWithInit() (bool, error) {
	ours, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return false, fmt.Errorf("failed to identify the network namespace: %w", err)
	}
	inits, err := os.Readlink("/proc/1/ns/net")
	if errors.Is(err, fs.ErrPermission) {
		// Reading the link takes CAP_SYS_PTRACE or the like (proc(5)), which a
		// container that may write rules (CAP_NET_ADMIN) need not have.
		return sameProcNet("/proc/thread-self", "/proc/1")
	}
	if err != nil {
		return false, unlessHidden(err)
	}
	return ours == inits, nil
}

// sameProcNet compares the network namespaces of two processes.
func sameProcNet(a, b string) (bool, error) {
	one, err := readProcNet(a)
	if err != nil {
		return false, fmt.Errorf("failed to identify the network namespace: %w", err)
	}
	other, err := readProcNet(b)
	if err != nil {
		return false, unlessHidden(err)
	}
	return one == other, nil
}

func unlessHidden(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return fmt.Errorf("failed to look at process 1: %w", err)
}
