package nftables

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
)

// othersTrace has everything traced from the first chain on, sends the packet in question
// to another port of lo, and drops it when it has come in there.
const othersTrace = `
table inet others {
	chain out { type filter hook output priority -2147483648; meta nftrace set 1; }
	chain in { type filter hook prerouting priority -2147483648; meta nftrace set 1; }
	chain leaving { type filter hook postrouting priority 300; udp dport 11 counter; }
	chain arriving { type filter hook input priority 0; udp dport 11 drop; }
}
table FAMILY to {
	chain out { type nat hook output priority -100; udp dport 9 redirect to :11; }
}
`

func enterAmongOthers(t *testing.T, f iptables.Family) {
	t.Helper()
	nstest.Enter(t)
	nstest.Run(t, "ip", "link", "set", "lo", "up")
	family := map[iptables.Family]string{iptables.IPv4: "ip", iptables.IPv6: "ip6"}[f]
	nstest.Run(t, "nft", strings.ReplaceAll(othersTrace, "FAMILY", family))
}

// sendOthers sends packets of others until the test ends, some thousand a second.
func sendOthers(t *testing.T, f iptables.Family) {
	t.Helper()
	conn := dialOthers(t, f)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for tick := time.Tick(time.Millisecond); ; {
			select {
			case <-stop:
				return
			case <-tick:
				for range 5 {
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

func dialOthers(t *testing.T, f iptables.Family) net.Conn {
	t.Helper()
	conn, err := net.Dial("udp", net.JoinHostPort(loopbackOf(f), "10"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func nothing() error { return nil }

// What others trace at the same time is theirs, and the trace ends meanwhile. The packet
// is the same when it comes in again by lo, under another id, and where others have
// marked it first.
func TestTraceAmongOthers(t *testing.T) {
	for _, f := range iptables.Families() {
		t.Run(f.String(), func(t *testing.T) {
			enterAmongOthers(t, f)
			sendOthers(t, f)
			to := map[iptables.Family]string{iptables.IPv4: "ip to", iptables.IPv6: "ip6 to"}[f]
			want := []TraceStep{
				{Table: "inet others", Chain: "out", Position: 1, Rule: "-j TRACE"},
				{Table: to, Chain: "out", Position: 1, Rule: "-p udp -m udp --dport 9 -j REDIRECT --to-ports 11"},
				{Table: "inet others", Chain: "leaving", Position: 1, Rule: "-p udp -m udp --dport 11"},
				{Table: "inet others", Chain: "in", Position: 1, Rule: "-j TRACE"},
				{Table: "inet others", Chain: "arriving", Position: 1, Rule: "-p udp -m udp --dport 11 -j DROP", Dropped: true},
			}
			began := time.Now()
			steps, err := traceTo(t.Context(), t, New(nstest.Here(t), owned), f, nothing)
			if err != nil || !slices.Equal(steps, want) {
				t.Errorf("got %v, error %v", steps, err)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// A trace ends with its context while others trace.
func TestTraceEndsWithContext(t *testing.T) {
	enterAmongOthers(t, iptables.IPv4)
	sendOthers(t, iptables.IPv4)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var ended time.Time
	_, err := traceTo(ctx, t, New(nstest.Here(t), owned), iptables.IPv4, func() error {
		time.AfterFunc(20*time.Millisecond, func() {
			ended = time.Now()
			cancel()
		})
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got error %v", err)
	}
	if took := time.Since(ended); took > time.Second {
		t.Errorf("it ended %s later", took)
	}
}

// Where reports were lost, none of the packet may be missing unnoticed.
func TestTraceLosesReports(t *testing.T) {
	enterAmongOthers(t, iptables.IPv4)
	others := dialOthers(t, iptables.IPv4)
	_, err := traceTo(t.Context(), t, New(nstest.Here(t), owned), iptables.IPv4, func() error {
		for range 30000 {
			_, _ = others.Write([]byte("x")) // or hear that nobody listens
		}
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "others trace more packets than can be read") {
		t.Errorf("got error %v", err)
	}
}
