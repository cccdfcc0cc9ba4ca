package nftables

import (
	"io"
	"net"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
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

// traced returns the way of a packet to a port of the loopback address.
func traced(t testing.TB, b *Backend) []TraceStep {
	t.Helper()
	conn, err := net.Dial("udp4", "127.0.0.1:9")
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
	steps, err := b.Trace(t.Context(), iptables.IPv4, what, func() (io.Closer, error) {
		_, err := conn.Write([]byte("x"))
		return conn, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return steps
}
