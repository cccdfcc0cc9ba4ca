package tests

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"github.com/meshtables/meshtables/tests/lab"
)

// flow is a connection that every set of rules in this file captures.
type flow struct {
	name   string
	from   *lab.Namespace
	client lab.Client
	to     netip.AddrPort
	want   string
}

func flows(p pod) []flow {
	var all []flow
	for _, f := range lab.Families() {
		all = append(all,
			flow{"inbound, " + string(f), p.Peer, lab.Client{}, lab.PodAddr.Port(f, 8080), proxyIn},
			flow{"outbound, " + string(f), p.Pod, lab.Client{Socket: lab.Socket{As: app().as}}, lab.Outside.Port(f, 80), proxyOut},
		)
	}
	return all
}

// While rules change, connections go on and every new one is captured: none goes
// around the proxy and none fails.
//
// That ends with --cleanup-only: without a rule that needs connection tracking the
// kernel stops translating what it had redirected (net/netfilter/
// nf_conntrack_proto.c, nf_ct_netns_put).
func TestTrafficWhileRulesChange(t *testing.T) {
	t.Parallel()
	modes := map[string]bool{"REDIRECT": false, "TPROXY": true}
	forEachBackend(t, func(t *testing.T, backend string) {
		for mode, transparent := range modes {
			t.Run(mode, func(t *testing.T) {
				p := newPod(t, backend)
				serveProxy(t, p, transparent)
				for _, f := range lab.Families() {
					serve(t, p, to(lab.PodAddr, 8080), false, f)
					serve(t, p, to(lab.Outside, 80), false, f)
				}
				changeUnderLoad(t, p, mode)
			})
		}
	})
}

func changeUnderLoad(t *testing.T, p pod, mode string) {
	t.Helper()
	changes := [][]string{
		{"-d", "1000,1001", "-o", "1000,1001"},
		{"-d", "1001,1000", "-x", "198.51.100.0/24,2001:db8:51::/48"},
		{"-b", "8080,9090", "-i", "203.0.113.0/24,2001:db8:113::/48"},
		{"--drop-invalid"},
		{"--redirect-dns"},
		{},
	}
	apply(t, p, "-m", mode)
	var open []*lab.Conn
	for _, f := range flows(p) {
		conn := dial(t, f.from, f.client, f.to, f.want)
		exchange(t, conn)
		open = append(open, conn)
	}
	stop := keepConnecting(t, p)
	for range 2 {
		for _, args := range changes {
			apply(t, p, append([]string{"-m", mode}, args...)...)
			for i, conn := range open {
				if err := conn.Echo("still there"); err != nil {
					t.Errorf("open connection, %s, after %v: %v", flows(p)[i].name, args, err)
				}
			}
		}
	}
	if made := stop(); made == 0 {
		t.Error("no connection was made while the rules changed")
	}
}

// keepConnecting makes one connection after the other, of every kind, and fails
// the test at the first one of a kind that goes wrong. stop ends that and returns
// how many there were.
func keepConnecting(t *testing.T, p pod) (stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	counts := make([]int, len(flows(p)))
	var clients sync.WaitGroup
	for i, f := range flows(p) {
		clients.Go(func() {
			for ; ctx.Err() == nil && counts[i] < 50000; counts[i]++ {
				if err := f.connect(t.Context()); err != nil {
					t.Errorf("connection %d while rules change, %s: %v", counts[i], f.name, err)
					return
				}
			}
		})
	}
	return func() int {
		cancel()
		clients.Wait()
		sum := 0
		for _, n := range counts {
			sum += n
		}
		return sum
	}
}

// connect makes the connection and ends it.
func (f flow) connect(ctx context.Context) error {
	conn, err := f.from.DialTCP(ctx, f.client, f.to)
	if err != nil {
		return fmt.Errorf("want %s: %w", f.want, err)
	}
	defer conn.Close()
	return wantServer(conn.Answer, f.want)
}
