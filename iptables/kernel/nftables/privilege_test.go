package nftables

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"golang.org/x/sys/unix"
)

func TestWithoutCapability(t *testing.T) {
	nstest.Enter(t)
	replace(t, sidecarRules(t))
	dropCapabilities(t)
	_, loadErr := New(nstest.Here(t), owned).Load(t.Context())
	replaceErr := New(nstest.Here(t), owned).Replace(t.Context(), installed.Backend{}, iptables.Ruleset{})
	for _, err := range []error{loadErr, replaceErr, New(nstest.Here(t), owned).Available(t.Context(), iptables.Ruleset{})} {
		var refused *Error
		if !errors.As(err, &refused) || !errors.Is(err, unix.EPERM) ||
			!errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "capability NET_ADMIN is missing") || refused.Hint == "" {
			t.Errorf("got %v", err)
		}
	}
}

// dropCapabilities takes effect for the calling thread, which ends with the test.
func dropCapabilities(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		t.Fatal(err)
	}
}

// CAP_NET_ADMIN is all that is needed.
func TestOnlyNetAdmin(t *testing.T) {
	nstest.Enter(t)
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var only [2]unix.CapUserData
	only[0].Effective = 1 << unix.CAP_NET_ADMIN
	only[0].Permitted = only[0].Effective
	if err := unix.Capset(&header, &only[0]); err != nil {
		t.Fatal(err)
	}
	want := sidecarRules(t)
	if err := New(nstest.Here(t), owned).Available(t.Context(), want); err != nil {
		t.Error(err)
	}
	replace(t, want)
	isInstalled(t, want)
}

// In a user namespace without the proxy's id, xt_owner refuses it, and the send
// buffer cannot be made larger than the node allows.
func TestUserNamespace(t *testing.T) {
	if os.Getenv("MESHTABLES_TEST_USERNS") != "" {
		inUserNamespace(t)
		return
	}
	if os.Getuid() != 0 {
		nstest.Missing(t, "the test needs root")
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestUserNamespace$", "-test.v")
	cmd.Env = append(os.Environ(), "MESHTABLES_TEST_USERNS=1")
	root := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: root, GidMappings: root,
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func inUserNamespace(t *testing.T) {
	replaceFails := func(want iptables.Ruleset, message string) {
		err := New(nstest.Here(t), owned).Replace(t.Context(), installed.Backend{}, want)
		if err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("got %v, want %s", err, message)
		}
	}
	replaceFails(sidecarRules(t), "the match owner takes only ids mapped")
	replaceFails(excludedPorts(40000), "more than a socket may send here")
	replace(t, excludedPorts(100))
	isInstalled(t, excludedPorts(100))

	// The native form takes the proxy's id all the same.
	for _, name := range []string{"sidecar-default-dual-stack", "tproxy-dual-stack"} {
		plan := NewNative(nil, owned).Form(planOf(t, name))
		nativeReplace(t, plan)
		if have := nativeLoad(t); !ownEqual(have, plan) {
			t.Errorf("%s: got\n%s", name, text(have))
		}
	}
	nativeReplace(t, NewNative(nil, owned).Form(scattered(30000)))
}

func ownEqual(a, b iptables.Ruleset) bool {
	a, b = owned.Of(a), owned.Of(b)
	return a.Equal(&b)
}
