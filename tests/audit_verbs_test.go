package tests

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meshtables/meshtables/tests/built"
	"github.com/meshtables/meshtables/tests/lab"
)

// What a pod's annotations leave open is as the plugin's entry on the node says.
func TestAuditByEntry(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	for i, row := range []auditedPod{
		{name: "shop/by-entry", annotations: injected(), script: "meshtables --proxy-uid=4711 --proxy-gid=4711 --excluded-cidrs=192.0.2.0/24"},
		{name: "shop/by-default", annotations: injected(), script: "meshtables"},
		{name: "shop/itself", annotations: map[string]string{"sidecar.istio.io/status": byItself}, script: "meshtables"},
		{name: "kube-system/excluded", annotations: injected()},
		{name: "shop/no-annotations"},
	} {
		p := &nodePod{name: row.name, number: i + 1, annotations: row.annotations}
		m.start(t, p)
		if row.script != "" {
			m.sh(t, p.in(row.script))
		}
	}
	entry := `{"type": "meshtables", "options": {"proxy-uid": "4711", "proxy-gid": "4711", "excluded-cidrs": ["192.0.2.0/24"]},
		"excludeNamespaces": ["kube-system"], "withoutAnnotations": "capture", "capabilities": {"io.kubernetes.cri.pod-annotations": true}}`
	m.configure(t, entry)
	states := func(args ...string) string {
		var all []string
		reports, _ := m.auditJSON(t, args...)
		for i := range 5 {
			r := reports[(&nodePod{number: i + 1}).file()]
			all = append(all, r.Name+" "+r.State)
		}
		return strings.Join(all, ", ")
	}
	before := "by-entry as-wanted, by-default different, itself as-wanted, excluded not-in-mesh, no-annotations uncaptured"
	if got := states(); got != before {
		t.Errorf("got  %s\nwant %s", got, before)
	}
	after := "by-entry as-wanted, by-default as-wanted, itself as-wanted, excluded not-in-mesh, no-annotations as-wanted"
	if got := states("--repair"); got != after {
		t.Errorf("repairing: got  %s\nwant %s", got, after)
	}
	if stdout, stderr, status := m.audit(t); status != 0 {
		t.Errorf("after repairing: %d\n%s%s", status, stdout, stderr)
	}
	m.configure(t, `{"type": "meshtables", "options": {"proxy-uid": "x"}}`)
	if stdout, stderr, status := m.audit(t); status != 1 || !strings.Contains(stderr, "10-net.conflist") || stdout != "" {
		t.Errorf("a wrong entry: %d\n%s%s", status, stdout, stderr)
	}
}

// Every verb that takes a network namespace takes a pod.
func TestPodOption(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	p := &nodePod{name: "shop/cart-7d9f", number: 1, annotations: injected()}
	m.start(t, p)
	m.listen(t, p, 15001, 15006)
	for _, test := range []struct{ words, want string }{
		{"--pod=shop/cart-7d9f --ipv6=off", "applied: 18 rules for IPv4, by iptables-nft\n"},
		{"verify --pod shop/cart-7d9f", "as wanted (iptables-nft)\n"},
		{"show --pod shop/cart-7d9f", "iptables-nft: 18 rules for IPv4, listed by iptables\n"},
		{"explain in :8080 --live --pod shop/cart-7d9f", "redirected to port 15006\n"},
		{"explain --live --pod shop/cart-7d9f", "REDIRECT, IPv4; IPv6 is not captured; in each direction the first matching line decides\n"},
		{"--cleanup-only --pod shop/cart-7d9f", "removed\n"},
	} {
		words := append([]string{built.Program(), "--cni-cache=" + m.cache}, strings.Fields(test.words)...)
		if stdout, stderr, status := m.run(t, words...); !strings.HasPrefix(stdout, test.want) || status != 0 {
			t.Errorf("%s: %d\n%s%swant %s", test.words, status, stdout, stderr, test.want)
		}
	}
	for _, test := range []struct{ words, want string }{
		{"show --pod cart", `must be NAMESPACE/NAME, as kubectl get pods -A shows them`},
		{"show --pod shop/other", `--pod "shop/other": no network namespace on this machine is that pod's`},
		{"show --pod shop/cart-7d9f --network-namespace=1", `--network-namespace "1" and --pod: must not both be given, because each names a network namespace`},
		{"audit --network-namespace=" + p.file(), "audit looks at all network namespaces; name one by its pod, with --pod"},
		{"audit --dry-run", "--dry-run: without --repair nothing is changed"},
		{"audit --every=1ms", "must be a duration of a second or more, such as 30s or 5m"},
	} {
		words := append([]string{built.Program(), "--cni-cache=" + m.cache}, strings.Fields(test.words)...)
		if stdout, stderr, status := m.run(t, words...); !strings.Contains(stderr, test.want) || status != 2 || stdout != "" {
			t.Errorf("%s: %d\n%s%swant %s", test.words, status, stdout, stderr, test.want)
		}
	}
}

// With --every the audit stays, and replaces the file at once each time, until it is told to end.
func TestAuditStays(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	p := &nodePod{name: "shop/cart", number: 1, annotations: injected()}
	m.start(t, p)
	file := filepath.Join(t.TempDir(), "meshtables.prom")
	ctx, end := context.WithCancel(t.Context())
	defer end()
	cmd := m.command(ctx, built.Program(), "audit", "--cni-cache="+m.cache, "--network-folder="+m.networks, "--every=1s", "-O", "openmetrics", "--output-file="+file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor := func(text string) {
		t.Helper()
		for range 200 {
			found, err := os.ReadFile(file)
			if err == nil && strings.Contains(string(found), text) {
				return
			}
			if err != nil && !errors.Is(err, os.ErrNotExist) || err == nil && !strings.Contains(string(found), "meshtables_audit_duration_seconds ") {
				t.Fatalf("the file is not whole: %v\n%s", err, found)
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Fatalf("the file never has %s", text)
	}
	waitFor(`state="uncaptured"} 1`)
	m.sh(t, p.in("meshtables"))
	waitFor(`pod="cart",mesh="istio",dataplane="sidecar",state="as-wanted"} 1`)
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("kill", strings.TrimSpace(string(children))).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ends with %v", err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(file), ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("it leaves %q, %v", left, err)
	}
}

// Pods that start and end while the audit looks at them are no errors, and no pod that stays is
// told wrongly.
func TestAuditWhilePodsEnd(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	for i := range 5 {
		p := &nodePod{name: fmt.Sprintf("stays/pod-%d", i), number: i + 1, annotations: injected()}
		m.start(t, p)
		m.sh(t, p.in("meshtables"))
	}
	ended := make(chan error)
	ctx, stop := context.WithCancel(t.Context())
	churn := m.command(ctx, "sh", "-c", `i=0; while [ -e /run/netns/cni-1 ] && [ $i -lt 400 ]; do i=$((i+1)); ip netns add c$i; ip netns exec c$i meshtables --ipv6=off >/dev/null; ip netns del c$i; done`)
	go func() { ended <- churn.Run() }()
	for range 30 {
		reports, _ := m.auditJSON(t)
		staying := 0
		for _, r := range reports {
			if r.Namespace == "stays" {
				staying++
			}
			// The others have no rules yet, or those that they were given.
			if r.State != "as-wanted" && (r.State != "not-in-mesh" || r.Namespace == "stays") {
				t.Errorf("%s/%s, %s: %s %v", r.Namespace, r.Name, r.File, r.State, r.Problems)
			}
		}
		if staying != 5 {
			t.Errorf("it sees %d pods that stay", staying)
		}
	}
	stop()
	<-ended
}

// The rules' counters are told apart by direction: what the proxy got, and what it did not.
func TestAuditCountsTraffic(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	p := &nodePod{name: "shop/cart", number: 1, annotations: injected()}
	m.start(t, p)
	m.sh(t, p.in("meshtables --ipv6=off; ip route add default dev eth0; ip neighbour add 10.244.0.9 lladdr 02:00:00:00:00:09 dev eth0"))
	m.listen(t, p, 15001, 15006)
	connect := func(user string, n int) {
		script := fmt.Sprintf("for i in $(seq %d); do setpriv --reuid=%s --clear-groups bash -c \"exec 3<>/dev/tcp/203.0.113.10/80\" 2>/dev/null & done; sleep 0.5; kill $(jobs -p) 2>/dev/null || true", n, user)
		m.sh(t, p.in(script))
	}
	connect("1000", 3)
	connect("1337", 2)
	metrics, _, _ := m.audit(t, "-O", "openmetrics")
	for _, want := range []string{`direction="out",result="captured"} 3`, `direction="out",result="bypassed"} 2`, `direction="in",result="captured"} 0`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in\n%s", want, metrics)
		}
	}
}

// A connection that is open while its pod is repaired stays open, and stays with the proxy.
func TestRepairKeepsConnections(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	p := &nodePod{name: "shop/cart", number: 1, annotations: injected()}
	m.start(t, p)
	m.sh(t, p.in("meshtables --excluded-ports=7; ip route add default dev eth0"))
	var client, server net.Conn
	m.within(t, p, func() error {
		proxy, err := net.Listen("tcp4", "127.0.0.1:15001")
		if err != nil {
			return err
		}
		defer proxy.Close()
		if client, err = net.DialTimeout("tcp4", "203.0.113.10:80", 5*time.Second); err != nil {
			return err
		}
		server, err = proxy.Accept()
		return err
	})
	defer client.Close()
	defer server.Close()
	say := func(word string) {
		t.Helper()
		heard := make([]byte, len(word))
		if err := server.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Write([]byte(word)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(server, heard); err != nil || string(heard) != word {
			t.Fatalf("%q, %v", heard, err)
		}
	}
	say("before")
	m.configure(t, `{"type": "meshtables"}`)
	stdout, stderr, status := m.audit(t, "--repair")
	if status != 0 || !strings.Contains(stdout, "repaired: applied") {
		t.Errorf("%d\n%s%s", status, stdout, stderr)
	}
	say("after")
}

// Processes that run as an exempt user or group are listed, the proxy itself is not. What they are
// called is their own to choose.
func TestAuditExempt(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	p := &nodePod{name: "shop/cart", number: 1, annotations: injected()}
	m.start(t, p)
	m.sh(t, p.in("meshtables"))
	m.listenAs(t, p, lab.Identity{UID: 1337, GID: 1337}, true, 15001, 15006)
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(folder, "a\x1b[1m \n\"b\\")
	if err := os.Symlink(sleep, name); err != nil {
		t.Fatal(err)
	}
	start := func(user, group string, program string) {
		t.Helper()
		// The name is not one that a shell would take.
		cmd := m.command(t.Context(), "nsenter", "--net="+p.file(), "setpriv", "--reuid="+user, "--regid="+group, "--clear-groups", program, "3600")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
	listed := func(n int) *auditedReport {
		t.Helper()
		for range 200 {
			reports, _ := m.auditJSON(t)
			if r := reports[p.file()]; n == 0 || r.Exempt != nil && len(r.Exempt.Processes)+r.Exempt.More >= n {
				return r
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Fatalf("it never lists %d processes", n)
		return nil
	}
	if r := listed(0); r.State != "as-wanted" || r.Exempt != nil {
		t.Errorf("with the proxy alone: %s %+v", r.State, r.Exempt)
	}
	start("1337", "0", name)
	r := listed(1)
	if got := r.Exempt.Processes[0]; got.Command != "a?[1m ??b?" || got.User != 1337 || got.Group != 0 || r.State != "as-wanted" {
		t.Errorf("%s %+v", r.State, got)
	}
	start("1000", "1000", sleep)
	for range 17 {
		start("1000", "1337", sleep)
	}
	if r := listed(18); len(r.Exempt.Processes) != 16 || r.Exempt.More != 2 {
		t.Errorf("%d processes, and %d more", len(r.Exempt.Processes), r.Exempt.More)
	}
	stdout, stderr, status := m.audit(t, "--pod=shop/cart")
	if status != 0 || !strings.Contains(stdout, ` "a?[1m ??b?", user 1337, group 0`+"\n") || !strings.Contains(stdout, "\n    and 2 more\n") {
		t.Errorf("%d\n%s%s", status, stdout, stderr)
	}
	if stdout, _, _ := m.audit(t); strings.Contains(stdout, "1337") {
		t.Errorf("about all pods it says\n%s", stdout)
	}
}

// The plugin's entry says who the proxy is by namespace. Where it says nothing or another, the hint
// says what to set, and then repairing helps.
func TestAuditProxyUsers(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	for i, row := range []auditedPod{
		{name: "shop/right", script: "meshtables --proxy-uid=1000989999"},
		{name: "bank/wrong", script: "meshtables"},
		{name: "bank/never"},
	} {
		p := &nodePod{name: row.name, number: i + 1, annotations: injected("openshift.io/scc", "restricted-v2")}
		m.start(t, p)
		if row.script != "" {
			m.sh(t, p.in(row.script))
		}
		m.listenAs(t, p, lab.Identity{UID: 1000989999}, true, 15001, 15006)
	}
	check := func(entry, want, hint string, args ...string) {
		t.Helper()
		m.configure(t, entry)
		reports, _ := m.auditJSON(t, args...)
		var all []string
		for i := range 3 {
			r := reports[(&nodePod{number: i + 1}).file()]
			all = append(all, r.State+" "+r.kinds())
			if len(r.Problems) > 0 && r.Problems[len(r.Problems)-1].Hint != strings.ReplaceAll(hint, "NAMESPACE", r.Namespace) {
				t.Errorf("%s: %+v, want %s", r.Name, r.Problems, hint)
			}
		}
		if got := strings.Join(all, ", "); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	check(`{"type": "meshtables", "proxyUsers": {"shop": 1000989999, "*": 1337}}`, "as-wanted , different proxy-user, uncaptured no-rules proxy-user",
		`to exempt it: set "proxyUsers": {"bank": [1000989999]} in the plugin's entry, or "proxy-uid" among its "options", and repair`)
	check(`{"type": "meshtables", "proxyUsers": {"shop": 1000989999, "bank": [1000989999], "*": 1337}}`, "as-wanted , as-wanted , as-wanted ", "", "--repair")
	check(`{"type": "meshtables"}`, "unreadable annotations, unreadable annotations, unreadable annotations",
		`set "proxyUsers": {"NAMESPACE": USER} in the plugin's entry, or "proxy-uid" among its "options" if it is the same everywhere`)
}
