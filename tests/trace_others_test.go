package tests

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meshtables/meshtables/tests/built"
	"github.com/meshtables/meshtables/tests/lab"
)

// othersTrace has the packets of others traced at every hook of a pod.
const othersTrace = `table inet others {
	chain in { type filter hook prerouting priority -400; udp dport 4444 meta nftrace set 1; }
	chain out { type filter hook output priority -400; udp dport 4444 meta nftrace set 1; }
}
`

// traceOthers has the pod send packets that somebody else traces, some thousand a second
// until the test ends.
func traceOthers(t *testing.T, p pod) {
	t.Helper()
	program(t, p, othersTrace, "nft", "-f", "-")
	conn, err := p.Pod.Dial(t.Context(), "udp", lab.Client{}, netip.MustParseAddrPort("127.0.0.1:4444"))
	if err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		defer conn.Close()
		for tick := time.Tick(time.Millisecond); ; {
			select {
			case <-stop:
				return
			case <-tick:
				for range 3 {
					_, _ = conn.Write([]byte("x")) // or hear that nobody listens
				}
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-stopped
	})
}

// A trace shows its own packet while others trace theirs.
func TestTraceBesideOthers(t *testing.T) {
	t.Parallel()
	for _, backend := range overNetlink() {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, backend)
			apply(t, p)
			traceOthers(t, p)
			for _, f := range lab.Families() {
				for _, words := range [][]string{
					{"out", lab.Outside.Port(f, 80).String()}, {"in", lab.PodAddr.Port(f, 80).String()},
				} {
					began := time.Now()
					status, out := run(t, p, "explain", words[0], words[1], "--trace")
					if status != 0 || strings.Contains(out, "\n  inet others") || !strings.Contains(out, "matched the same rules, in the same order") {
						t.Errorf("%s: exit status %d\n%s", words, status, out)
					}
					if took := time.Since(began); took > lab.DefaultTimeout {
						t.Errorf("%s: it took %s", words, took)
					}
				}
			}
		})
	}
}

// A trace ends when it is told to, also while others trace, and leaves nothing behind.
func TestTraceIsTerminated(t *testing.T) {
	t.Parallel()
	p := newPod(t, "iptables-nft")
	apply(t, p)
	traceOthers(t, p)
	for _, words := range []string{"out 203.0.113.10:80", "in :80"} {
		out := ""
		// A trace may be quicker than the look at its table.
		for tries := 0; !strings.Contains(out, "status 1\n") && tries < 10; tries++ {
			out = terminateTrace(t, p, words)
		}
		_, left, ended := strings.Cut(out, "status 1\n")
		if !ended || !strings.Contains(out, "meshtables: error: --trace: ") {
			t.Errorf("%s:\n%s", words, out)
		}
		if strings.Contains(left, "meshtables_trace") || strings.Contains(left, "meshtables0") {
			t.Errorf("%s: left is\n%s", words, left)
		}
	}
}

// terminateTrace sends a trace a SIGTERM when its table is there. It returns what the trace
// prints, its exit status, and then the tables and interfaces that are left.
func terminateTrace(t *testing.T, p pod, words string) string {
	t.Helper()
	script := fmt.Sprintf("%s explain %s --trace & pid=$!\n"+
		"until nft list tables | grep meshtables_trace || ! kill -0 $pid; do :; done\n"+
		"kill -TERM $pid; wait $pid; echo status $?; nft list tables; ip -o link", built.Program(), words)
	began := time.Now()
	status, out := runIn(t, p.Pod, lab.Command{Path: "timeout", Args: []string{"30s", "sh", "-c", script}})
	if took := time.Since(began); status != 0 || took > lab.DefaultTimeout {
		t.Errorf("%s: exit status %d after %s\n%s", words, status, took, out)
	}
	return out
}

// Several traces at once, as of containers of the same pod, each have their own packet,
// and interface for it to come in by.
func TestTracesAtOnce(t *testing.T) {
	t.Parallel()
	p := newPod(t, "iptables-nft")
	apply(t, p)
	var running sync.WaitGroup
	for i := range 6 {
		words := []string{"explain", "in", lab.PodAddr.Port(lab.Families()[0], 80).String(), "--trace"}
		if i%3 == 0 {
			words = []string{"explain", "out", lab.Outside.Port(lab.Families()[0], 80).String(), "--trace"}
		}
		running.Go(func() {
			var out bytes.Buffer
			c := p.command(words...)
			c.Stdout, c.Stderr = &out, &out
			if err := p.Pod.Run(t.Context(), c); err != nil || !strings.Contains(out.String(), "matched the same rules, in the same order") {
				t.Errorf("%s: %v\n%s", words, err, &out)
			}
		})
	}
	running.Wait()
}
