package nftables

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"golang.org/x/sys/unix"
)

// Neither a check nor a trace depends on what others do to their rules meanwhile.
func TestNeighbourChangesRules(t *testing.T) {
	nstest.Enter(t)
	nstest.Run(t, "ip", "link", "set", "lo", "up")
	changes := 0
	b := faultyBackend(faulty{onSend: func(request []byte) []byte {
		if isBatch(request) {
			changes++
			nstest.Run(t, "nft", "add table ip neighbour; delete table ip neighbour")
		}
		return nil
	}})
	b.native = true
	if err := b.Available(t.Context(), b.Form(planOf(t, "sidecar-default"))); err != nil {
		t.Error(err)
	}
	traced(t, b)
	if changes != 2 {
		t.Errorf("the rules changed %d times before a transaction", changes)
	}
}

// A kernel without nft_compat traces too, and no more than the packet.
func TestTraceWithoutCompat(t *testing.T) {
	nstest.Enter(t)
	nstest.Run(t, "ip", "link", "set", "lo", "up")
	nstest.Run(t, "nft", "add table ip other; add chain ip other c { type filter hook output priority 0; }; add rule ip other c counter")
	b := faultyBackend(withoutCompat())
	for _, b.native = range []bool{true, false} {
		want := []TraceStep{{Table: "ip other", Chain: "c", Position: 1}}
		if steps := traced(t, b); !slices.Equal(steps, want) {
			t.Errorf("%s: got %v", b.Name(), steps)
		}
	}
}

// Before Linux 5.12 no table belongs to a socket. There a trace removes its table itself,
// also where it fails or is told to end, and those that others were killed over; not one
// that is in use, however old it is.
func TestTraceWithoutOwnedTables(t *testing.T) {
	nstest.Enter(t)
	nstest.Run(t, "ip", "link", "set", "lo", "up")
	left, used := traceTablePrefix+"1_0123456789abcdef", traceTablePrefix+"0_0123456789abcdef"
	nstest.Run(t, "nft", "add table ip "+left+"; add table ip "+used)
	held, err := hold(nstest.Here(t), used)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	b := faultyBackend(withoutOwnedTables())
	want := []TraceStep{{Table: "ip other", Chain: "c", Position: 1}}
	nstest.Run(t, "nft", "add table ip other; add chain ip other c { type filter hook output priority 0; }; add rule ip other c counter")
	if steps := traced(t, b); !slices.Equal(steps, want) {
		t.Errorf("got %v", steps)
	}
	broken := errors.New("cannot send")
	if _, err := b.Trace(t.Context(), iptables.IPv4, iptables.Rule{}, func() (io.Closer, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("got error %v", err)
	}
	ctx, end := context.WithCancel(t.Context())
	_, err = b.Trace(ctx, iptables.IPv4, iptables.Rule{}, func() (io.Closer, error) {
		end()
		return io.NopCloser(nil), nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v", err)
	}
	if left, want := nstest.Run(t, "nft", "list", "tables"), "table ip "+used+"\ntable ip other\n"; left != want {
		t.Errorf("left are\n%s", left)
	}
}

// withoutOwnedTables refuses them as older kernels do.
func withoutOwnedTables() faulty {
	return faulty{onSend: func(request []byte) []byte {
		if !isBatch(request) {
			return nil
		}
		for m := range split(request) {
			flags := bytes.Index(m, []byte{8, 0, unix.NFTA_TABLE_FLAGS, 0, 0, 0, 0, tables.FlagOwner})
			if kindOf(m) == netlink.NFTables(unix.NFT_MSG_NEWTABLE) && flags >= 0 {
				return refusal(sequenceOf(m), unix.EINVAL)
			}
		}
		return nil
	}}
}

// A trace has a table of its own, also beside one of the same process.
func TestTracesAtOnce(t *testing.T) {
	nstest.Enter(t)
	nstest.Run(t, "ip", "link", "set", "lo", "up")
	_, err := New(nstest.Here(t), owned).Trace(t.Context(), iptables.IPv4, iptables.Rule{}, func() (io.Closer, error) {
		traced(t, New(nstest.Here(t), owned))
		return io.NopCloser(nil), nil
	})
	if err != nil {
		t.Error(err)
	}
}

// A condition that is not written would have other packets traced too.
func TestTraceRefusesConditions(t *testing.T) {
	t.Parallel()
	e := encodeTrace(iptables.IPv4, &iptables.Rule{Matches: []iptables.Match{iptables.Mark{Value: 1}}})
	if _, err := e.Bytes(); err == nil {
		t.Error("a condition was left out")
	}
}

// traced returns the way of a packet to a port of the loopback address. One to another
// port is sent before it.
func traced(t testing.TB, b *Backend) []TraceStep {
	t.Helper()
	steps, err := traceTo(t.Context(), t, b, iptables.IPv4, func() error {
		stray, err := net.Dial("udp4", "127.0.0.1:10")
		if err != nil {
			return err
		}
		defer stray.Close()
		_, err = stray.Write([]byte("x"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return steps
}

// traceTo traces a packet of UDP to port 9 of the loopback address. Others do what they
// do before it is sent.
func traceTo(ctx context.Context, t testing.TB, b *Backend, f iptables.Family, others func() error) ([]TraceStep, error) {
	t.Helper()
	conn, err := net.Dial("udp", net.JoinHostPort(loopbackOf(f), "9"))
	if err != nil {
		t.Fatal(err)
	}
	port := func(n int) iptables.PortMatch { return iptables.PortMatch{Range: iptables.Port(uint16(n)), Set: true} }
	what := iptables.Rule{
		Protocol: iptables.ProtocolMatch{Protocol: iptables.UDP},
		Matches: []iptables.Match{iptables.Ports{
			Protocol: iptables.UDP, Source: port(conn.LocalAddr().(*net.UDPAddr).Port), Destination: port(9),
		}},
	}
	return b.Trace(ctx, f, what, func() (io.Closer, error) {
		othersErr := others()
		_, err = conn.Write([]byte("x"))
		return conn, errors.Join(othersErr, err)
	})
}

func loopbackOf(f iptables.Family) string {
	if f == iptables.IPv6 {
		return "::1"
	}
	return "127.0.0.1"
}
