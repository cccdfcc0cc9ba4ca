package tests

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables"
	"github.com/meshtables/meshtables/iptables/namespace"
	"github.com/meshtables/meshtables/tests/lab"
)

// hostWatcher is meshtables host --watch on the node of a pod.
type hostWatcher struct {
	pid   int
	ended chan error

	mu  sync.Mutex
	log bytes.Buffer
}

func (w *hostWatcher) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(b)
}

// says returns what it has logged.
func (w *hostWatcher) says() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}

// watchNode starts it, and ends it with the test if it has not ended by then.
func watchNode(t *testing.T, p pod, args ...string) *hostWatcher {
	t.Helper()
	w := &hostWatcher{ended: make(chan error, 1)}
	file := filepath.Join(t.TempDir(), "pid")
	c := p.command(append([]string{"host", "--watch"}, args...)...)
	c.Args = append([]string{"-c", "echo $$ >" + file + ".new; mv " + file + ".new " + file + "; exec \"$@\"", "sh", c.Path}, c.Args...)
	c.Path, c.Stdout, c.Stderr = "sh", w, w
	ctx, cancel := context.WithCancel(t.Context())
	go func() { w.ended <- p.Peer.Run(ctx, c) }()
	t.Cleanup(func() {
		cancel()
		<-w.ended
	})
	w.await(t, "it starts", func() bool {
		return strings.Contains(w.says(), "applied: ") || strings.Contains(w.says(), "unchanged: ")
	})
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(string(text), &w.pid); err != nil {
		t.Fatal(err)
	}
	w.await(t, "it listens", func() bool { _, listens := netlinkDrops(t, p); return listens })
	return w
}

// await waits for something to be so.
func (w *hostWatcher) await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(40 * time.Second); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s\n%s", what, w.says())
		}
	}
}

func (w *hostWatcher) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(w.pid, s); err != nil {
		t.Fatal(err)
	}
}

// end ends it as a container runtime does.
func (w *hostWatcher) end(t *testing.T) {
	t.Helper()
	w.signal(t, syscall.SIGTERM)
	err := <-w.ended
	w.ended <- err
	if err != nil {
		t.Errorf("it ends with %v\n%s", err, w.says())
	}
}

// onPeer runs a script on the node, which has to succeed.
func onPeer(t *testing.T, p pod, script string) {
	t.Helper()
	if status, out := runIn(t, p.Peer, lab.Command{Path: "sh", Args: []string{"-ec", script}}); status != 0 {
		t.Fatalf("%s\n%s", script, out)
	}
}

// isHostAsWanted reports what host --verify says with options.
func isHostAsWanted(t *testing.T, p pod, args ...string) bool {
	status, _ := runIn(t, p.Peer, p.command(append([]string{"host", "--verify"}, args...)...))
	return status == 0
}

// reloads are what firewalls do to the rules on a node, with what they leave.
func reloads(backend string) map[string]string {
	all := map[string]string{
		"nft flush ruleset": "nft flush ruleset",
		"nft -f, as nftables.service reloads": `printf 'flush ruleset
			table inet filter { chain input { type filter hook input priority 0; policy accept; }; }
			table ip nat { chain POSTROUTING { type nat hook postrouting priority 100; ip daddr 198.51.100.1 masquerade; }; }' | nft -f -`,
		"iptables-restore, as netfilter-persistent reloads": "for i in iptables ip6tables; do printf '*nat\n:POSTROUTING ACCEPT\n-A POSTROUTING -d 127.0.0.1 -j ACCEPT\nCOMMIT\n' | sed s/127.0.0.1/$([ $i = iptables ] && echo 127.0.0.1 || echo ::1)/ | $i-nft-restore; done",
		"the jump alone": "iptables-nft -t nat -F POSTROUTING; ip6tables-nft -t nat -F POSTROUTING",
	}
	switch backend {
	case native:
		return map[string]string{
			"nft flush ruleset":                   all["nft flush ruleset"],
			"nft -f, as nftables.service reloads": all["nft -f, as nftables.service reloads"],
			"the set":                             "nft flush set inet meshtables istio-inpod-probes-v4; nft flush set inet meshtables istio-inpod-probes-v6",
			"the table":                           "nft delete table inet meshtables",
		}
	case "iptables-legacy":
		return map[string]string{
			"iptables-legacy-restore": strings.ReplaceAll(all["iptables-restore, as netfilter-persistent reloads"], "-nft-restore", "-legacy-restore"),
			"the jump alone":          strings.ReplaceAll(all["the jump alone"], "-nft", "-legacy"),
			"ipset flush":             "ipset flush",
		}
	}
	all["ipset flush"] = "ipset flush"
	all["rules and sets"] = "nft flush ruleset; sleep 0.01; ipset destroy 2>/dev/null || true"
	return all
}

// TestHostWatch reloads firewalls around the node's side. While nobody watches, what a prober
// sends goes to the proxy then. As soon as somebody does, it gets to the application again, and
// the log says what was put back.
func TestHostWatch(t *testing.T) {
	t.Parallel()
	for _, backend := range append(overNetlink(), "iptables-legacy") {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, backend)
			nodeListeners().serve(t, p)
			for _, f := range lab.Families() {
				serve(t, p, to(lab.PodAddr, 8080), false, f)
			}
			apply(t, p, "--dataplane-mode=ambient")
			w := watchNode(t, p, "--backend="+backend, "--pods="+podAddresses(), "--every=1s")
			probe := func(inSet bool) error {
				for _, f := range lab.Families() {
					if err := nodesConnections(inSet)[0].make(t, p, f); err != nil {
						return fmt.Errorf("%s: %w", f, err)
					}
				}
				return nil
			}
			if err := probe(true); err != nil {
				t.Fatal(err)
			}
			for name, reload := range reloads(backend) {
				before := strings.Count(w.says(), "put back")
				w.signal(t, syscall.SIGSTOP)
				onPeer(t, p, reload)
				if err := probe(false); err != nil {
					t.Errorf("%s: without a watch: %v", name, err)
				}
				w.signal(t, syscall.SIGCONT)
				w.await(t, name+" is mended", func() bool { return probe(true) == nil })
				w.await(t, name+" is told", func() bool { return strings.Count(w.says(), "put back") > before })
				w.await(t, name+" is as wanted", func() bool { return isHostAsWanted(t, p, "--backend="+backend, "--pods="+podAddresses()) })
			}
			for _, want := range []string{"rules are missing", "the set istio-inpod-probes-v4 lacks " + lab.PodAddr.V4.String()} {
				if !strings.Contains(w.says(), want) {
					t.Errorf("nothing is said of %s:\n%s", want, w.says())
				}
			}
			if backend != "iptables-legacy" && !strings.Contains(w.says(), "; changed by nft (process ") {
				t.Errorf("it does not say who has changed them:\n%s", w.says())
			}
			// It rests once everything is as wanted: its own changes are none.
			said := w.says()
			time.Sleep(1500 * time.Millisecond)
			if now := w.says(); now != said {
				t.Errorf("it goes on without a reason: %s", strings.TrimPrefix(now, said))
			}
			w.end(t)
			if err := probe(true); err != nil {
				t.Errorf("after its end: %v", err)
			}
		})
	}
}

// TestHostWatchGap measures for how long the rules are away: from the kernel's report of the
// transaction that removes them to that of the one that puts them back.
func TestHostWatchGap(t *testing.T) {
	t.Parallel()
	for _, backend := range overNetlink() {
		p := newPod(t, backend)
		watchNode(t, p, "--backend="+backend, "--pods="+podAddresses())
		ns, err := namespace.Open(p.Peer.File())
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		reports, err := nftables.Listen(ns, iptables.Ownership{Chains: []string{"ISTIO_"}})
		if err != nil {
			t.Fatal(err)
		}
		defer reports.Close()
		var gaps []time.Duration
		// Less often than what makes it rest.
		for range 8 {
			onPeer(t, p, "(sleep 0.05; nft flush ruleset) >/dev/null 2>&1 &")
			next := func() time.Time {
				change, err := reports.Next(t.Context())
				if err != nil || change.Overrun {
					t.Errorf("%v, %+v", err, change)
				}
				return time.Now()
			}
			removed := next()
			gaps = append(gaps, next().Sub(removed).Round(100*time.Microsecond))
		}
		t.Logf("%s: %v", backend, gaps)
		for _, gap := range gaps {
			if gap > 5*time.Second {
				t.Errorf("%s: the rules are away for %v", backend, gap)
			}
		}
	}
}

// TestHostWatchStorm reloads so often that nobody could want it. It makes few restorations then,
// says so, and in the end the rules are there.
func TestHostWatchStorm(t *testing.T) {
	t.Parallel()
	p := newPod(t, "iptables-nft")
	w := watchNode(t, p, "--pods="+podAddresses())
	onPeer(t, p, `for i in 1 2; do (for j in $(seq 200); do nft flush ruleset; nft 'table ip others { chain c { type filter hook input priority 0; accept; }; }'; done) & done; wait`)
	w.await(t, "it is as wanted", func() bool { return isHostAsWanted(t, p, "--pods="+podAddresses()) })
	if n := strings.Count(w.says(), "put back ("); n > 20 {
		t.Errorf("of 400 reloads it has undone %d:\n%s", n, w.says())
	}
	if !strings.Contains(w.says(), "somebody takes away again and again") {
		t.Errorf("it does not tell that it rests:\n%s", w.says())
	}
	w.end(t)
}

// TestHostWatchOverrun has more reports than the kernel keeps for who does not read them: what
// was lost is not missed.
func TestHostWatchOverrun(t *testing.T) {
	t.Parallel()
	p := newPod(t, "iptables-nft")
	w := watchNode(t, p, "--pods="+podAddresses(), "--every=1h")
	w.signal(t, syscall.SIGSTOP)
	// The last report is the one that matters, and does not fit any more.
	onPeer(t, p, `{ echo "add table ip many; add chain ip many c"; for i in $(seq 20000); do echo "add rule ip many c ip daddr 10.0.0.1 tcp dport 80 counter accept"; done; } >/tmp/many.$$
		for i in 1 2 3; do nft -f /tmp/many.$$; nft delete table ip many; done; rm /tmp/many.$$
		nft flush ruleset`)
	if drops, _ := netlinkDrops(t, p); drops == 0 {
		t.Error("no report was lost, so this shows nothing")
	}
	w.signal(t, syscall.SIGCONT)
	w.await(t, "it is as wanted", func() bool { return isHostAsWanted(t, p, "--pods="+podAddresses()) })
	w.end(t)
}

// netlinkDrops returns how many reports of nf_tables the kernel could not deliver in the node's
// namespace, and whether anybody listens to them.
func netlinkDrops(t *testing.T, p pod) (drops int, listens bool) {
	t.Helper()
	status, out := runIn(t, p.Peer, lab.Command{Path: "cat", Args: []string{"/proc/self/net/netlink"}})
	if status != 0 {
		t.Fatal(out)
	}
	for line := range strings.Lines(out) {
		// sk, Eth, Pid, Groups, Rmem, Wmem, Dump, Locks, Drops, Inode (netlink_native_seq_show in
		// net/netlink/af_netlink.c). 12 is NETLINK_NETFILTER, and the group that of nf_tables.
		words := strings.Fields(line)
		if len(words) != 10 || words[1] != "12" || words[3] != "00000040" {
			continue
		}
		listens = true
		var n int
		_, _ = fmt.Sscan(words[8], &n)
		drops += n
	}
	return drops, listens
}

// TestHostWatchFollows changes what is asked for while somebody watches. That counts, and is what
// comes back after a reload. What was given to the watch itself stays.
func TestHostWatchFollows(t *testing.T) {
	t.Parallel()
	for _, backend := range overNetlink() {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, backend)
			onNode(t, p, 0, "host", "--backend="+backend, "--pods=10.0.0.1,10.0.0.2", "--ipv6=off")
			w := watchNode(t, p, "--every=1s")
			onNode(t, p, 0, "host", "--add-pods=10.0.0.3", "--remove-pods=10.0.0.1")
			onNode(t, p, 0, "host", "--host-probe-address=169.254.9.9", "--ipv6=off")
			time.Sleep(1200 * time.Millisecond)
			restored := func(pods string, more ...string) {
				t.Helper()
				before := strings.Count(w.says(), "put back")
				onPeer(t, p, "nft flush ruleset")
				w.await(t, "the rules are back", func() bool { return strings.Count(w.says(), "put back") > before })
				args := append([]string{"--pods=" + pods, "--host-probe-address=169.254.9.9", "--ipv6=off"}, more...)
				w.await(t, "it is as wanted", func() bool { return isHostAsWanted(t, p, args...) })
			}
			if before := strings.Count(w.says(), "put back"); before != 0 {
				t.Errorf("it has undone what was asked for:\n%s", w.says())
			}
			restored("10.0.0.2,10.0.0.3")
			other := map[string]string{"iptables-nft": native, native: "iptables-nft"}[backend]
			said := w.says()
			onNode(t, p, 0, "host", "--backend="+other)
			time.Sleep(1200 * time.Millisecond)
			if now := w.says(); now != said {
				t.Errorf("it has undone what was asked for: %s", strings.TrimPrefix(now, said))
			}
			restored("10.0.0.2,10.0.0.3", "--backend="+other)
			// The last pods end one after the other.
			onNode(t, p, 0, "host", "--remove-pods=10.0.0.2")
			time.Sleep(1200 * time.Millisecond)
			onNode(t, p, 0, "host", "--remove-pods=10.0.0.3")
			time.Sleep(1200 * time.Millisecond)
			restored("", "--backend="+other)
			w.end(t)
		})
	}
}

// TestHostWatchRouting removes the rules and routes that go with the node's side: they come back.
func TestHostWatchRouting(t *testing.T) {
	t.Parallel()
	p := newPod(t, "iptables-nft")
	if err := p.AddCloud(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := watchNode(t, p, "--pods="+podAddresses(), "--pod-interfaces", "--probe-route", "--every=1h")
	for _, damage := range []string{"ip rule del pref 9", "ip -6 rule del pref 512", "ip route del 169.254.7.127", "ip rule flush; ip rule add lookup main pref 100"} {
		before := strings.Count(w.says(), "put back")
		onPeer(t, p, damage)
		if strings.Contains(damage, "flush") {
			// Without the plugin's rule nothing is wanted; it comes back later.
			onPeer(t, p, "ip rule add pref 20 lookup local; ip rule add pref 10 iif eth0 lookup 101")
		}
		w.await(t, damage+" is mended", func() bool { return strings.Count(w.says(), "put back") > before })
		w.await(t, "it is as wanted", func() bool {
			return isHostAsWanted(t, p, "--pods="+podAddresses(), "--pod-interfaces", "--probe-route")
		})
	}
	w.end(t)
}

// TestHostWatchReady answers readiness probes: everything is as wanted, or what is missing.
func TestHostWatchReady(t *testing.T) {
	t.Parallel()
	p := newPod(t, "iptables-nft")
	w := watchNode(t, p, "--pods="+podAddresses(), "--ready-address=127.0.0.1:15093", "--every=1s")
	ask := func() string {
		_, out := runIn(t, p.Peer, lab.Command{Path: "bash", Args: []string{"-c", `exec 3<>/dev/tcp/127.0.0.1/15093; printf 'GET / HTTP/1.1\r\n\r\n' >&3; cat <&3`}})
		return out
	}
	w.await(t, "ready", func() bool { return strings.HasPrefix(ask(), "HTTP/1.1 200 OK\r\n") })
	// The rules of another mesh take its place, which it must not replace.
	onNode(t, p, 0, "--host-network", "--replace-dataplane", "--proxy-uid=1337")
	w.await(t, "not ready", func() bool {
		return strings.HasPrefix(ask(), "HTTP/1.1 503 ") && strings.Contains(ask(), "--replace-dataplane")
	})
	w.await(t, "a word about it", func() bool { return strings.Contains(w.says(), "failed to put back") })
	if n := strings.Count(w.says(), "failed to put back"); n != 1 {
		t.Errorf("it says %d times that it cannot:\n%s", n, w.says())
	}
	onNode(t, p, 0, "--cleanup-only")
	w.await(t, "ready again", func() bool { return strings.HasPrefix(ask(), "HTTP/1.1 200 OK\r\n") })
	w.end(t)
}
