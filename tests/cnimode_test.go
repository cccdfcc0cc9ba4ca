package tests

import (
	osuser "os/user"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/tests/built"
)

// someName is a user and a group of every machine (Linux Standard Base, Core, User
// & Group Names), by different numbers on different ones.
const someName = "daemon"

// With --cni-mode, names of users and groups are refused, wherever they stand, and
// nothing is touched: they would be looked up on the node, and are of the pod. Without,
// they stand for their numbers.
func TestNamesInCNIMode(t *testing.T) {
	t.Parallel()
	uid, gid := numbersOf(t, someName)
	forEachBackend(t, func(t *testing.T, backend string) {
		p := newPod(t, backend)
		for _, c := range []struct{ option, name, number string }{
			{"--proxy-uid", someName, uid},
			{"--proxy-gid", someName, gid},
			{"--included-groups", someName, gid},
			{"--excluded-groups", someName, gid},
			{"--excluded-uids", "udp:53:" + someName, "udp:53:" + uid},
		} {
			name, number := c.option+"="+c.name, c.option+"="+c.number
			cleanup(t, p)
			before := ownState(t, p)
			wantNameRefused(t, p, c.option, "--backend="+backend, "--cni-mode", name)
			if diff := cmp.Diff(before, ownState(t, p)); diff != "" {
				t.Errorf("%s: before (-), after it was refused (+):\n%s", name, diff)
			}
			apply(t, p, name)
			wantNameRefused(t, p, c.option, "verify", "--backend="+backend, "--cni-mode", name)
			meshtables(t, p, "verify", "--backend="+backend, "--cni-mode", number)
			apply(t, p, "--cni-mode", number)
		}
		wantNameRefused(t, p, "--uid", "explain", "out", "203.0.113.10:80", "--live", "--cni-mode", "--uid="+someName)
		meshtables(t, p, "explain", "out", "203.0.113.10:80", "--live", "--uid="+someName)
		named := p
		named.env = []string{"ENVOY_USER=" + someName}
		wantNameRefused(t, named, "ENVOY_USER", "--backend="+backend, "--cni-mode")
		apply(t, named)
		meshtables(t, p, "verify", "--backend="+backend, "--proxy-uid="+uid, "--proxy-gid="+gid)
	})
}

// numbersOf returns the numbers of the user and of the group of that name.
func numbersOf(t *testing.T, name string) (uid, gid string) {
	t.Helper()
	u, err := osuser.Lookup(name)
	if err != nil {
		missing(t, err.Error())
	}
	g, err := osuser.LookupGroup(name)
	if err != nil {
		missing(t, err.Error())
	}
	return u.Uid, g.Gid
}

// wantNameRefused runs the program, which must say which option has a name that it
// does not take.
func wantNameRefused(t *testing.T, p pod, option string, args ...string) {
	t.Helper()
	status, out := run(t, p, args...)
	if status != 2 || !strings.Contains(out, "error: ") || !strings.Contains(out, option+" \"") || strings.Contains(out, "applied") {
		t.Errorf("%s: exit status %d, want 2 and an error about %s\n%s", strings.Join(args, " "), status, option, out)
	}
}

// The proxy's user is istio-proxy where there is one. With --cni-mode nobody looks,
// for it would be the node's.
func TestProxyUserInCNIMode(t *testing.T) {
	t.Parallel()
	const script = `mount --bind "$0" /etc/passwd && exec "$@"`
	p := newPod(t, "iptables-nft")
	passwd := writeFile(t, "passwd", "root:x:0:0::/:/bin/sh\nistio-proxy:x:2000:2000::/:/bin/false\n")
	for want, args := range map[string][]string{"2000": nil, "1337": {"--cni-mode"}} {
		// The mount is seen by nobody else.
		c := p.command(slices.Concat([]string{"--mount", "sh", "-c", script, passwd, built.Program(), "--dry-run"}, args)...)
		c.Path = "unshare"
		status, out := runIn(t, p.Pod, c)
		if status != 0 || !strings.Contains(out, "--uid-owner "+want) || !strings.Contains(out, "--gid-owner "+want) {
			t.Errorf("%q: the proxy is not %s:\n%s", args, want, out)
		}
	}
}
