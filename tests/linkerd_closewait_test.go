package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
)

// closeWait is the setting that --timeout-close-wait-secs is about.
const closeWait = "net.netfilter.nf_conntrack_tcp_timeout_close_wait"

func wantCloseWait(t *testing.T, p pod, want string) {
	t.Helper()
	if got := strings.TrimSpace(program(t, p, "", "sysctl", "-n", closeWait)); got != want {
		t.Errorf("the timeout is %s, want %s", got, want)
	}
}

// The timeout is that of the namespace, goes with the rules, and is told if somebody changes it.
func TestCloseWait(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, backend string) {
		p := newPod(t, backend)
		before := strings.TrimSpace(program(t, p, "", "sysctl", "-n", closeWait))
		args := []string{"--backend=" + backend, "--timeout-close-wait-secs", "3600"}
		verify := slices.Concat([]string{"verify"}, args)
		const command = "sysctl -w " + closeWait + "=3600"

		if out := meshtables(t, p, append(args, "--dry-run")...); !strings.Contains(out, "# "+command+"\n") {
			t.Errorf("--dry-run says %s", out)
		}
		wantCloseWait(t, p, before)
		wantSays(t, p, "applied", args...)
		wantCloseWait(t, p, "3600")
		wantSays(t, p, "unchanged", args...)
		wantSays(t, p, "as wanted", verify...)

		program(t, p, "", "sysctl", "-w", closeWait+"=7")
		if says := fails(t, p, 3, verify...); !strings.Contains(says, "the namespace needs\n  "+command+"\n") {
			t.Errorf("verify says %s", says)
		}
		if slices.Contains(overNetlink(), backend) {
			// What was asked for is recorded.
			if says := fails(t, p, 3, "verify", "--backend="+backend); !strings.Contains(says, command) {
				t.Errorf("verify without options says %s", says)
			}
		}
		wantSays(t, p, "applied", args...)
		wantCloseWait(t, p, "3600")
		wantSays(t, p, "as wanted", verify...)

		// Without the option it is left alone, and nobody knows what it was before.
		apply(t, p, "--mesh=linkerd")
		wantSays(t, p, "removed", "--cleanup-only")
		wantCloseWait(t, p, "3600")
	})
}

// Where /proc/sys cannot be written to, neither the rules nor the timeout change. A timeout that is
// right needs no writing.
func TestCloseWaitReadOnly(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, backend string) {
		p := newPod(t, backend)
		wantSays(t, p, "applied", "--backend="+backend, "--timeout-close-wait-secs=3600")
		before := observe(t, p)
		status, says := runReadOnly(t, p, "--backend="+backend, "--timeout-close-wait-secs=1800", "--inbound-ports-to-ignore=22")
		for _, want := range []string{
			"nothing was changed: --timeout-close-wait-secs: failed to set " + closeWait + ": read-only file system\n",
			"hint: the container has to be allowed to write to /proc/sys",
		} {
			if status != 1 || !strings.Contains(says, want) {
				t.Errorf("status %d, want 1 and %q in\n%s", status, want, says)
			}
		}
		if diff := cmp.Diff(before, observe(t, p)); diff != "" {
			t.Errorf("before (-), after (+):\n%s", diff)
		}
		wantCloseWait(t, p, "3600")
		status, says = runReadOnly(t, p, "--backend="+backend, "--timeout-close-wait-secs=3600", "--inbound-ports-to-ignore=22")
		if status != 0 || !strings.HasPrefix(says, "applied") {
			t.Errorf("status %d, says %s", status, says)
		}
	})
}

// runReadOnly runs the program as in a container that is not privileged.
func runReadOnly(t *testing.T, p pod, args ...string) (status int, output string) {
	t.Helper()
	c := p.command(args...)
	const script = `mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys && exec "$0" "$@"`
	c.Args = slices.Concat([]string{"--mount", "sh", "-ec", script, c.Path}, args)
	c.Path = "unshare"
	return runIn(t, p.Pod, c)
}

// If the rules cannot be written after it, the timeout is what it was.
func TestCloseWaitOfFailedRules(t *testing.T) {
	t.Parallel()
	const backend = "iptables-legacy"
	p := newPod(t, backend)
	wantSays(t, p, "applied", "--backend="+backend, "--timeout-close-wait-secs=3600")
	before := observe(t, p)
	others := []string{"--backend=" + backend, "--timeout-close-wait-secs=1800", "--inbound-ports-to-ignore=22"}

	broken := p
	broken.env = []string{"PATH=" + folderOfFailing(t, programOf(backend, iptables.IPv6, "restore")) + ":" + os.Getenv("PATH")}
	says := fails(t, broken, 1, others...)
	if !strings.Contains(says, "out of order") || !strings.Contains(says, "the old rules are still in place") {
		t.Errorf("says %s", says)
	}
	wantCloseWait(t, p, "3600")
	if diff := cmp.Diff(before, observe(t, p)); diff != "" {
		t.Errorf("before (-), after (+):\n%s", diff)
	}
	wantSays(t, p, "applied", others...)
	wantCloseWait(t, p, "1800")
}

// folderOfFailing makes a folder with a program that tells its version, and otherwise fails.
func folderOfFailing(t *testing.T, name string) string {
	t.Helper()
	found, err := exec.LookPath(name)
	if err != nil {
		missing(t, err.Error())
	}
	script := "#!/bin/sh\nif [ \"$1\" = --version ]; then exec " + found + " --version; fi\necho out of order >&2\nexit 1\n"
	path := writeFile(t, name, script)
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(path)
}

// The audit tells of a timeout that is not what the pod's annotation asks for, and repairs it.
func TestCloseWaitInAudit(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	p := &nodePod{name: "shop/cart", number: 1, annotations: map[string]string{
		"linkerd.io/proxy-version": "edge-26.7.1", "config.linkerd.io/close-wait-timeout": "1h",
	}}
	m.start(t, p)
	m.listen(t, p, 4140, 4143)
	m.sh(t, p.in("meshtables --mesh=linkerd --timeout-close-wait-secs=3600 --excluded-ports=4190,4191,4567,4568 --excluded-outbound-ports=4567,4568"))
	wantState := func(state, kinds string, args ...string) {
		t.Helper()
		reports, _ := m.auditJSON(t, args...)
		if r := reports[p.file()]; r.State != state || r.kinds() != kinds {
			t.Errorf("%q: %s, %q, want %s, %q: %v", args, r.State, r.kinds(), state, kinds, r.Problems)
		}
	}
	wantState("as-wanted", "")
	m.sh(t, p.in("sysctl -w "+closeWait+"=7"))
	wantState("different", "sysctl")
	wantState("as-wanted", "", "--repair")
	if got := m.sh(t, p.in("sysctl -n "+closeWait)); got != "3600\n" {
		t.Errorf("repaired, the timeout is %s", got)
	}
}
