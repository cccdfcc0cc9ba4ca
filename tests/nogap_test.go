package tests

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/meshtables/meshtables/tests/lab"
	"github.com/meshtables/meshtables/tests/soak"
)

// capturing are options that all capture the flows, in both modes, with DNS
// capture and without. --cleanup-only is not among them: without any rule that
// needs connection tracking the kernel stops translating what it had redirected
// (net/netfilter/nf_conntrack_proto.c, nf_ct_netns_put).
func capturing() [][]string {
	return [][]string{
		{},
		{"-m", "TPROXY"},
		{"-d", "1000,1001", "-o", "1000,1001"},
		{"--redirect-dns"},
		{"-m", "TPROXY", "--redirect-dns", "--capture-all-dns"},
		{"-b", "8080,9090", "-i", "203.0.113.0/24,2001:db8:113::/48"},
		{"-m", "TPROXY", "-d", "1001,1000", "-x", "198.51.100.0/24,2001:db8:51::/48"},
		{"--redirect-dns", "--drop-invalid"},
		{"-m", "TPROXY", "-t", "2337", "-r", "134"},
	}
}

// While options change, also from one mode to the other, every new connection is
// captured, none fails, and those that are open go on.
func TestNoGapWhileOptionsChange(t *testing.T) {
	t.Parallel()
	overNetlink, programs := soak.Times(60, 300), soak.Times(20, 60)
	forEachBackend(t, func(t *testing.T, backend string) {
		changeOptions(t, newPod(t, backend), overNetlink, programs)
	})
}

// changeOptions changes a pod's options a number of times, which depends on whether its
// backend writes over netlink or by the programs, while all flows connect.
func changeOptions(t *testing.T, p pod, overNetlink, programs int) {
	t.Helper()
	changes := map[string]int{"iptables-nft": overNetlink, native: overNetlink, "iptables-legacy": programs, "iptables": programs}[p.backend]
	serveFlows(t, p)
	apply(t, p)
	open := openConnections(t, p)
	tr, stop := keepConnecting(t, flows(p))
	for range changes {
		apply(t, p, p.anyOptions()...)
		wantStillOpen(t, open)
		if t.Failed() {
			break
		}
	}
	stop()
	t.Logf("changed %d times: %v", changes, tr)
	wantNoneAstray(t, tr)
}

// The flows do notice a gap.
func TestFlowsNoticeAGap(t *testing.T) {
	t.Parallel()
	p := newPod(t, "iptables-nft")
	serveFlows(t, p)
	apply(t, p, "--redirect-dns")
	all := append(flows(p), dnsFlows(p)...)
	for i := range all {
		all[i].client.Timeout = time.Second // what has no answer fails soon
	}
	tr, stop := keepConnecting(t, all)
	cleanup(t, p)
	unnoticed := all
	for deadline := time.Now().Add(30 * time.Second); len(unnoticed) > 0 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
		unnoticed = slices.DeleteFunc(unnoticed, tr.noticed)
	}
	stop()
	for _, f := range unnoticed {
		t.Errorf("%s notices nothing: %v", f.name, tr)
	}
}

// While DNS stays captured no query goes unanswered or to the name server, however
// often other options change.
func TestNoGapInDNS(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, backend string) {
		p := newPod(t, backend)
		serveFlows(t, p)
		apply(t, p, "--redirect-dns")
		tr, stop := keepConnecting(t, dnsFlows(p))
		for range 3 {
			for _, args := range capturing() {
				apply(t, p, append(args, "--redirect-dns")...)
			}
		}
		stop()
		t.Logf("%v", tr)
		wantNoneAstray(t, tr)
	})
}

// However often the program is killed at whichever moment, it leaves no gap, and
// the next run makes everything as wanted.
func TestNoGapWhenKilled(t *testing.T) {
	t.Parallel()
	// Two at a time: a change waits for the kernel's grace periods most of the
	// time.
	killed, changed := make([]int, 2), make([]int, 2)
	each := soak.Times(75, 750)
	t.Run("pods", func(t *testing.T) {
		for i := range killed {
			t.Run(strconv.Itoa(i), func(t *testing.T) {
				t.Parallel()
				p := newPod(t, "iptables-nft")
				tr := connectAndKill(t, p, each, &killed[i], &changed[i])
				wantNoneAstray(t, tr)
			})
		}
	})
	kills, changes := killed[0]+killed[1], changed[0]+changed[1]
	t.Logf("killed %d times, %d of them after a change of the rules", kills, changes)
	if kills < 2*each || changes == 0 || changes == kills {
		t.Errorf("killed %d times, %d of them after a change of the rules: want %d, and some before and some after", kills, changes, 2*each)
	}
}

// connectAndKill kills the program up to a number of times while all flows
// connect, and counts the kills and those that came after a change of the rules.
func connectAndKill(t *testing.T, p pod, times int, killed, changed *int) *traffic {
	t.Helper()
	serveFlows(t, p)
	apply(t, p)
	open := openConnections(t, p)
	tr, stop := keepConnecting(t, flows(p))
	usual := applyDuration(t, p)
	generation := nftGeneration(t, p)
	for attempt := 0; *killed < times && attempt < 20*times; attempt++ {
		if !applyAndKill(t, p, time.Duration(p.random.Int64N(int64(usual)))) {
			generation = nftGeneration(t, p)
			continue
		}
		*killed++
		if now := nftGeneration(t, p); now != generation {
			*changed++
			generation = now
		}
		if *killed%50 == 0 {
			wantConvergence(t, p)
			wantStillOpen(t, open)
			// The servers do not keep connections for ever.
			open = openConnections(t, p)
			generation = nftGeneration(t, p)
		}
	}
	wantConvergence(t, p)
	wantStillOpen(t, open)
	stop()
	t.Logf("killed %d times: %v", *killed, tr)
	return tr
}

// The programs change one table after the other, and one family after the other:
// a killed run may leave new rules in some and old ones in others, until the next
// run makes everything as wanted. Only that is asserted; what becomes of
// connections meanwhile is told.
func TestProgramsWhenKilled(t *testing.T) {
	t.Parallel()
	for _, backend := range []string{"iptables-legacy", "iptables"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, backend)
			killed, changed := 0, 0
			connectAndKill(t, p, killsOfPrograms(t), &killed, &changed)
		})
	}
}

// killsOfPrograms is how often these are killed. A measurement takes more than a
// test, and sets MESHTABLES_KILLS.
func killsOfPrograms(t *testing.T) int {
	t.Helper()
	text := os.Getenv("MESHTABLES_KILLS")
	if text == "" {
		return soak.Times(15, 50)
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// anyOptions returns one of capturing, so that in time each comes after each
// other.
func (p pod) anyOptions() []string {
	options := p.options
	if options == nil {
		options = capturing()
	}
	return options[p.random.IntN(len(options))]
}

// applyDuration is how long a run takes under the present load.
func applyDuration(t *testing.T, p pod) time.Duration {
	t.Helper()
	var durations []time.Duration
	for _, args := range capturing() {
		start := time.Now()
		apply(t, p, args...)
		durations = append(durations, time.Since(start))
	}
	slices.Sort(durations)
	return durations[len(durations)/2]
}

// applyAndKill runs the program with other options and kills it after that time.
// It returns false if the program was done before.
func applyAndKill(t *testing.T, p pod, after time.Duration) bool {
	t.Helper()
	c := p.command(append([]string{"--backend=" + p.backend}, p.anyOptions()...)...)
	c.KillAfter = max(after, 1)
	err := p.Pod.Run(t.Context(), c)
	if err == nil {
		return false
	}
	exit := (*exec.ExitError)(nil)
	if !errors.As(err, &exit) || !exit.Sys().(syscall.WaitStatus).Signaled() {
		t.Fatal(err)
	}
	return true
}

// wantConvergence fails unless one run from here makes everything as wanted and
// the next finds nothing to do.
func wantConvergence(t *testing.T, p pod) {
	t.Helper()
	args := append([]string{"--backend=" + p.backend}, p.anyOptions()...)
	meshtables(t, p, args...)
	meshtables(t, p, append([]string{"verify"}, args...)...)
	if out := meshtables(t, p, args...); !strings.HasPrefix(out, "unchanged") {
		t.Errorf("the second run says %q", out)
	}
}

// openConnection is one that was made before everything else.
type openConnection struct {
	flow flow
	conn *lab.Conn
}

func openConnections(t *testing.T, p pod) []openConnection {
	t.Helper()
	var open []openConnection
	for _, f := range flows(p) {
		conn := dial(t, f.from, f.client, f.to, f.want)
		exchange(t, conn)
		open = append(open, openConnection{f, conn})
	}
	return open
}

func wantStillOpen(t *testing.T, open []openConnection) {
	t.Helper()
	for _, o := range open {
		if err := o.conn.Echo("still there"); err != nil {
			t.Errorf("open connection, %s: %v", o.flow.name, err)
		}
	}
}

func wantNoneAstray(t *testing.T, tr *traffic) {
	t.Helper()
	if tr.made == 0 || len(tr.astray) > 0 {
		t.Errorf("got %v, want some connections and none to fail or to get past the proxy", tr)
	}
}
