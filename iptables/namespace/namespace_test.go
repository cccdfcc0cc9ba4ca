package namespace_test

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"github.com/meshtables/meshtables/iptables/internal/rtnetlink"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// another returns the file of a network namespace that no process is in, with an
// interface of that name.
func another(t *testing.T, name string) string {
	t.Helper()
	made := make(chan error, 1)
	var handle netns.NsHandle
	go func() {
		// The thread ends with the goroutine.
		runtime.LockOSThread()
		var err error
		if handle, err = netns.New(); err != nil {
			made <- fmt.Errorf("a network namespace needs root: %w", err)
			return
		}
		pair := netlink.NewVeth(netlink.LinkAttrs{Name: name, TxQLen: -1})
		pair.PeerName = name + "-peer"
		if err := netlink.LinkAdd(pair); err != nil {
			made <- fmt.Errorf("interface %s: %w", name, err)
			return
		}
		made <- nil
	}()
	if err := <-made; err != nil {
		nstest.Missing(t, "%v", err)
	}
	t.Cleanup(func() { handle.Close() })
	return fmt.Sprintf("/proc/self/fd/%d", handle)
}

func identity(t *testing.T) string {
	t.Helper()
	link, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// What is done in another namespace is done there, and the calling thread stays where it
// is.
func TestDo(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	before := identity(t)
	ns, err := namespace.Open(another(t, "there"))
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if ns.IsOwn() || ns.PID() != 0 {
		t.Errorf("own: %t, process %d", ns.IsOwn(), ns.PID())
	}
	failed := errors.New("failed")
	err = ns.Do(func() error {
		if there := identity(t); there == before {
			t.Error("it is done in the calling thread's namespace")
		}
		return failed
	})
	if !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
	if text, err := ns.ReadFile("/proc/thread-self/net/dev"); err != nil || !strings.Contains(string(text), "there:") {
		t.Errorf("got %s, %v", text, err)
	}
	if _, err := rtnetlink.LinkByName(t.Context(), ns, "there"); err != nil {
		t.Error(err)
	}
	if after := identity(t); after != before {
		t.Errorf("the calling thread is in %s, not in %s", after, before)
	}
}

// The own namespace is that of the calling thread, which does everything itself.
func TestOwn(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	here := identity(t)
	ns := nstest.Here(t)
	if err := ns.Do(func() error {
		if got := identity(t); got != here {
			t.Errorf("got %s, want %s", got, here)
		}
		return nil
	}); err != nil || !ns.IsOwn() {
		t.Errorf("got %v, own: %t", err, ns.IsOwn())
	}
}

func TestOpenNothing(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"2147483647":         "there is no such process",
		"/proc/0/ns/net":     "must be a process id or the file of a network namespace: no such file or directory",
		"/no/such/namespace": "must be a process id or the file of a network namespace: no such file or directory",
		"/proc/self/ns/mnt":  "is not a network namespace",
		"/dev/null":          "is not a network namespace",
	} {
		if ns, err := namespace.Open(name); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, %v, want %q", name, ns, err, want)
		}
	}
}
