// Package nstest gives tests network namespaces of their own. It is for tests
// only.
package nstest

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/vishvananda/netns"

	netnamespace "github.com/meshtables/meshtables/iptables/namespace"
)

// Enter moves the calling test into a new network namespace whose loopback
// interface is up. Programs that the test starts are in it too; other
// goroutines, and so subtests, are not and need their own.
//
// Making a namespace takes root. Without it the test is skipped, or fails if the
// environment variable CI is set.
//
// The namespace ends with the test: the goroutine stays locked to its thread, which Go
// ends with the goroutine.
func Enter(t testing.TB) {
	t.Helper()
	runtime.LockOSThread()
	if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
		// The thread has not changed.
		runtime.UnlockOSThread()
		Missing(t, "a network namespace of its own needs root: %v", err)
	}
	own := namespace(t, "thread-self")
	for _, other := range []string{"self", "1"} {
		// The process counts as its main thread, which may be this test's.
		if other == "self" && syscall.Gettid() == os.Getpid() {
			continue
		}
		if namespace(t, other) == own {
			t.Fatalf("the test is not in a network namespace of its own: process %s is in it too", other)
		}
	}
	Run(t, "ip", "link", "set", "lo", "up")
}

// Here returns the network namespace of the calling test, open until the test ends.
func Here(t testing.TB) *netnamespace.Namespace {
	t.Helper()
	ns := netnamespace.Own()
	t.Cleanup(func() {
		if err := ns.Close(); err != nil {
			t.Error(err)
		}
	})
	return ns
}

// Missing skips the test because something is missing, or fails it if the environment
// variable CI is set.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// Run runs a program in the namespace of the calling goroutine and returns what
// it printed, stderr included. The test ends if the program fails.
func Run(t testing.TB, program string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		Missing(t, "the test needs the program %s", program)
	}
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
	return string(out)
}

// namespace identifies the network namespace of a process by a file that procfs makes for
// each namespace (fs/proc/generic.c, proc_register). The link ns/net would do, but
// reading process 1's takes CAP_SYS_PTRACE.
func namespace(t testing.TB, process string) (inode uint64) {
	t.Helper()
	var s syscall.Stat_t
	if err := syscall.Stat("/proc/"+process+"/net/dev", &s); err != nil {
		t.Fatalf("cannot tell the network namespace of process %s: %v", process, err)
	}
	return s.Ino
}

// ShiftedIDs is how much greater user and group ids of [EnterShifted]'s user namespace
// are outside it than inside.
const ShiftedIDs = 100_000

// EnterShifted moves the calling test into a network namespace as [Enter] does, but one
// that belongs to another user namespace than the test's, as a pod's does for a program
// on its node.
func EnterShifted(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		Missing(t, "a user namespace with shifted ids needs root")
	}
	owner := exec.Command("sleep", "600")
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: ShiftedIDs, Size: 65536}}
	owner.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: ids, GidMappings: ids,
		Pdeathsig: syscall.SIGKILL,
	}
	runtime.LockOSThread()
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = owner.Process.Kill()
		_ = owner.Wait()
	})
	ns, err := netns.GetFromPid(owner.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if err := netns.Set(ns); err != nil {
		t.Fatal(err)
	}
	Run(t, "ip", "link", "set", "lo", "up")
}
