package host

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/meshtables/meshtables/iptables/internal/nstest"
)

// Another namespace than process 1's is never that of the whole machine, and a
// file in procfs tells the same as the link that takes a privilege to read.
func TestNamespaceOfInit(t *testing.T) {
	t.Parallel()
	byFile, err := sameProcNet("/proc/thread-self", "/proc/1")
	if err != nil {
		t.Fatal(err)
	}
	shared, err := sharedWithInit()
	if err != nil || shared != byFile {
		t.Errorf("the test's process: got %t, %v; by file %t", shared, err, byFile)
	}
	// Where the link can be read, it has to tell the same.
	own, _ := os.Readlink("/proc/thread-self/ns/net")
	if inits, err := os.Readlink("/proc/1/ns/net"); err == nil && (own == inits) != byFile {
		t.Errorf("by file: got %t, but the links are %s and %s", byFile, own, inits)
	}

	nstest.Enter(t)
	if owned, err := OwnedByInit(nstest.Here(t)); owned || err != nil {
		t.Errorf("a fresh namespace: got %t, %v", owned, err)
	}
	if shared, err := sharedWithInit(); shared || err != nil {
		t.Errorf("a fresh namespace, by link: got %t, %v", shared, err)
	}
	if shared, err := sameProcNet("/proc/thread-self", "/proc/1"); shared || err != nil {
		t.Errorf("a fresh namespace, by file: got %t, %v", shared, err)
	}
}

// asProcess1 makes TestOwnedByInit, run again as process 1 of a pid namespace,
// say what it finds.
const asProcess1 = "MESHTABLES_TEST_AS_PROCESS_1"

// The name of process 1 decides, where the network namespace is its own.
func TestOwnedByInit(t *testing.T) {
	if os.Getenv(asProcess1) != "" {
		if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
			t.Fatal(err)
		}
		owned, err := OwnedByInit(nstest.Here(t))
		fmt.Println(owned, err)
		os.Exit(0)
	}
	// Not parallel: a program that another test forks meanwhile could hold the
	// copies open for writing, and they could not be run.
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for comm, want := range map[string]string{"init": "true <nil>\n", "systemd": "true <nil>\n", "pause": "false <nil>\n"} {
		path := filepath.Join(t.TempDir(), comm)
		if err := os.WriteFile(path, program, 0o700); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(path, "-test.run=^TestOwnedByInit$")
		cmd.Env = append(os.Environ(), asProcess1+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:   syscall.CLONE_NEWPID | syscall.CLONE_NEWNET,
			Unshareflags: syscall.CLONE_NEWNS,
		}
		out, err := cmd.Output()
		if os.Geteuid() != 0 && err != nil {
			nstest.Missing(t, "namespaces of its own need root: %v", err)
		}
		if err != nil || string(out) != want {
			t.Errorf("process 1 is %s: got %q, %v, want %q", comm, out, err, want)
		}
	}
}
