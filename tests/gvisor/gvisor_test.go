package gvisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meshtables/meshtables/tests/built"
	"github.com/meshtables/meshtables/tests/lab"
)

// program, runsc and peer are the paths of programs.
var program, runsc, peer string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "meshtables-gvisor-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = errors.Join(os.Chmod(dir, 0o755), build(dir))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// build builds the programs. That of runsc takes a minute; what is up to date is not linked again.
func build(dir string) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	program, peer = filepath.Join(dir, "meshtables"), filepath.Join(dir, "peer")
	runsc = filepath.Join(cache, "meshtables", "gvisor", "runsc")
	return errors.Join(
		built.Build("", runsc, "gvisor.dev/gvisor/runsc", built.Stripped()...),
		built.Build("../../cmd/meshtables", program, ".", built.Stripped()...),
		built.Build("peer", peer, ".", built.Stripped()...),
	)
}

// available returns nil if this machine can make a pod, else the reason why not.
func available() error {
	for _, name := range []string{"iptables-legacy-save", "iptables-nft-save", "unshare", "setpriv"} {
		if _, err := exec.LookPath(name); err != nil {
			return err
		}
	}
	return lab.Available()
}

// pod is a pod of gVisor on a machine of its own.
type pod struct {
	// node runs on the machine when the pod's network is there, before the sandbox.
	node string
	// inside runs in the pod, and outside, on the machine, when it has printed "ready".
	inside, outside string
	// flags are those of runsc.
	flags []string
}

// limit is for all of a pod. It takes two seconds.
const limit = time.Minute

// machine sets up the machine, as the first process in namespaces of its own, then the pod.
const machine = `
mount -t tmpfs tmpfs /run
mkdir /run/netns
echo nameserver 192.0.2.53 >"$dir/resolv.conf"
mount --bind "$dir/resolv.conf" /etc/resolv.conf
ip link set lo up
ip netns add pod
ip link add outside type veth peer name eth0 netns pod
for f in 10.9.0.%d/24 fd00:9::%d/64; do
	ip address add ${f/\%d/1} dev outside $(case $f in *:*) echo nodad;; esac)
	ip -n pod address add ${f/\%d/2} dev eth0 $(case $f in *:*) echo nodad;; esac)
done
ip link set outside up
ip -n pod link set lo up
ip -n pod link set eth0 up
ip -n pod route add default via 10.9.0.1
ip -n pod -6 route add default via fd00:9::1
ip route add 192.0.2.0/24 dev lo
. "$dir/node"
"$runsc" --root="$dir/state" --ignore-cgroups --network=sandbox "$@" run --bundle="$dir" pod >>"$dir/inside" 2>&1 </dev/null &
sandbox=$!
until grep -qs '^ready$' "$dir/inside"; do
	kill -0 $sandbox || exit 0
	sleep 0.02
done
. "$dir/outside"
"$runsc" --root="$dir/state" kill pod KILL
wait $sandbox || true
`

// run runs a pod from start to end, and returns what was printed in it and on the machine.
func (p pod) run(t *testing.T) (inside, outside string) {
	t.Helper()
	if err := available(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"config.json": specification(t, p.inside), "node": p.node, "outside": p.outside} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", append([]string{"--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-euc", machine, "bash"}, p.flags...)...)
	cmd.Env = append(os.Environ(), "dir="+dir, "runsc="+runsc, "peer="+peer, "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	text, readErr := os.ReadFile(filepath.Join(dir, "inside"))
	if err != nil || readErr != nil {
		t.Fatalf("%v, %v\n%s\nin the pod:\n%s", err, readErr, out, text)
	}
	return string(text), string(out)
}

// specification returns that of a container (config.json of the Open Container Initiative), with
// what the init container of deploy/legacy may do, and users that it can become.
func specification(t *testing.T, script string) string {
	t.Helper()
	mount := func(to, kind string) map[string]string {
		return map[string]string{"destination": to, "type": kind, "source": kind}
	}
	capabilities := []string{"CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SETUID", "CAP_SETGID"}
	text, err := json.Marshal(map[string]any{
		"ociVersion": "1.0.2",
		"process": map[string]any{
			"user": map[string]int{"uid": 0, "gid": 0}, "cwd": "/", "args": []string{"/bin/bash", "-uc", script},
			"env":          []string{"PATH=" + filepath.Dir(program) + ":/usr/sbin:/usr/bin:/sbin:/bin", "peer=" + peer},
			"capabilities": map[string][]string{"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
		},
		"root":   map[string]any{"path": "/", "readonly": true},
		"mounts": []any{mount("/proc", "proc"), mount("/run", "tmpfs"), mount("/dev", "tmpfs")},
		"linux": map[string]any{"namespaces": []map[string]string{
			{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network", "path": "/run/netns/pod"},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// raw lets containers use raw sockets, by which the iptables programs work.
const raw = "--net-raw"

// wantLines looks for texts that begin lines.
func wantLines(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, line := range want {
		if !strings.Contains("\n"+text, "\n"+line) {
			t.Errorf("%q is missing from\n%s", line, text)
		}
	}
}

// serving is a pod with an application, and a proxy at its ports.
const serving = "$peer serve 8080 15001 15006 & "

// asking asks the pod from outside.
const asking = "for a in 10.9.0.2 '[fd00:9::2]'; do echo $a $($peer ask $a:8080); done\n"

// What the node writes into the pod's network namespace does nothing, and the audit says so.
func TestRulesOfTheNode(t *testing.T) {
	t.Parallel()
	_, out := pod{
		node:    "nsenter --net=/run/netns/pod meshtables\n",
		inside:  serving + "echo ready; wait",
		outside: asking + "meshtables audit || echo status $?\nmeshtables audit -O json || true\n",
		flags:   []string{raw},
	}.run(t)
	wantLines(t, out, "10.9.0.2 port 8080\n", "[fd00:9::2] port 8080\n", "1 pod: 1 sandboxed\n", "status 3\n")
	if want := "the pod's network stack is its sandbox's (runsc, process "; !strings.Contains(out, want) || !strings.Contains(out, `"program": "`+runsc+`"`) {
		t.Errorf("%q is missing from\n%s", want, out)
	}
}

// Rules of nat that gVisor is told to copy do their work: that is what the plugin may be told to
// capture such pods for.
func TestRulesThatAreCopied(t *testing.T) {
	t.Parallel()
	_, out := pod{
		node:    "nsenter --net=/run/netns/pod meshtables --ipv6=off\n",
		inside:  serving + "echo ready; wait",
		outside: asking,
		flags:   []string{raw, "--reproduce-nftables"},
	}.run(t)
	wantLines(t, out, "10.9.0.2 port 15006\n", "[fd00:9::2] port 8080\n")
}

// The init container of deploy/legacy captures traffic in both families, also when it runs again,
// and takes its rules away.
func TestInitContainer(t *testing.T) {
	t.Parallel()
	const apply = "meshtables --backend=iptables-legacy --proxy-uid=1337"
	const count = "for c in iptables ip6tables; do echo $c $($c-legacy-save -t nat | grep -c ISTIO); done; "
	in, out := pod{
		inside: apply + "; " + count + apply + "; " + count +
			"PATH=/nowhere $(command -v meshtables) probe --proxy-uid=1337; echo probe $?; meshtables verify --proxy-uid=1337; " + serving +
			"for a in 10.9.0.1 '[fd00:9::1]'; do for u in 1000 1337; do echo $u $a $(setpriv --reuid=$u --regid=$u --clear-groups $peer ask $a:80); done; done; echo ready; wait",
		node:    "$peer serve 80 &\n",
		outside: asking,
		flags:   []string{raw},
	}.run(t)
	wantLines(t, out, "10.9.0.2 port 15006\n", "[fd00:9::2] port 15006\n")
	wantLines(t, in,
		"applied: 36 rules for IPv4 and IPv6, by iptables-legacy\niptables 22\nip6tables 22\n"+
			"applied: 36 rules for IPv4 and IPv6, by iptables-legacy\niptables 22\nip6tables 22\n",
		"1000 10.9.0.1 port 15001\n", "1337 10.9.0.1 port 80\n", "1000 [fd00:9::1] port 15001\n", "1337 [fd00:9::1] port 80\n",
		"passed   outbound IPv4: ", "passed   proxy's outbound IPv6: ", "passed   proxy to itself IPv6: ", "probe 0\n",
		"different (iptables-legacy)\nthe kernel does not say what some matches are about, as in gVisor, so nobody can compare the rules; meshtables probe tries them\n")
	if strings.Contains(in, "warning") {
		t.Errorf("there is a warning:\n%s", in)
	}
}

// Removing leaves nothing.
func TestRemoval(t *testing.T) {
	t.Parallel()
	in, _ := pod{
		inside: "meshtables --redirect-dns; meshtables --cleanup-only; meshtables --cleanup-only; " +
			"for t in nat raw mangle filter; do for c in iptables ip6tables; do $c-legacy-save -t $t; done; done | grep -c ISTIO; ip -6 address show dev lo | grep -c '::6'",
		flags: []string{raw},
	}.run(t)
	wantLines(t, in, "applied: ", "removed\nnothing to remove\n0\n0\n")
}

// DNS is captured, and the proxy's own queries are not.
func TestRedirectDNS(t *testing.T) {
	t.Parallel()
	in, _ := pod{inside: "meshtables --redirect-dns; meshtables probe --redirect-dns; echo probe $?", flags: []string{raw}}.run(t)
	wantLines(t, in, "passed   DNS IPv4: a datagram of user 1000 to 192.0.2.53:53 arrived at port 15053\n",
		"passed   proxy's DNS IPv4: a datagram of user 1337 to 192.0.2.53:53 was left alone\n", "probe 0\n")
}

// What gVisor cannot do fails with a reason and what to do, and changes nothing.
func TestRefusals(t *testing.T) {
	t.Parallel()
	const gvisor = "meshtables: hint: this is gVisor, which has no nf_tables: use the image with the iptables programs, as deploy/legacy does, and --backend=iptables-legacy\nstatus 1\n"
	for name, test := range map[string]struct {
		command string
		flags   []string
		want    []string
	}{
		"without programs": {"PATH=/nowhere $(command -v meshtables)", []string{raw}, []string{"meshtables: error: nothing was changed: no usable backend:\n", gvisor}},
		"over netlink":     {"meshtables --backend=iptables-nft", []string{raw}, []string{gvisor}},
		"native":           {"meshtables --backend=nftables", []string{raw}, []string{gvisor}},
		"TPROXY": {"meshtables --mode=TPROXY", []string{raw}, []string{"meshtables: error: nothing was changed: failed to change routing: ",
			"meshtables: hint: gVisor has no policy routing: only sidecars that get connections by REDIRECT can be there\nstatus 1\n"}},
		"comments":     {"meshtables --comments", []string{raw}, []string{"meshtables: error: failed to write rules: iptables-legacy-restore: the kernel has no extension comment ", "meshtables: hint: gVisor has netfilter in part: leave out what needs this\nstatus 1\n"}},
		"drop-invalid": {"meshtables --drop-invalid", []string{raw}, []string{"meshtables: error: failed to write rules: ", "meshtables: hint: gVisor has netfilter in part: leave out what needs this\nstatus 1\n"}},
		"without raw sockets": {"meshtables", nil, []string{"meshtables: error: ",
			"meshtables: hint: run as root with the capabilities NET_ADMIN and NET_RAW; gVisor keeps NET_RAW from containers unless its runsc.toml has net-raw = \"true\"\nstatus 1\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in, _ := pod{inside: test.command + "; echo status $?; iptables-legacy-save -t nat | grep -c ISTIO", flags: test.flags}.run(t)
			wantLines(t, in, append(test.want, "0\n")...)
		})
	}
}
