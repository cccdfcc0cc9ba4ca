package tests

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meshtables/meshtables/tests/lab"
)

// flow is a kind of connection, or of DNS query, that every set of rules which it
// is used with captures.
type flow struct {
	name   string
	from   *lab.Namespace
	client lab.Client
	to     netip.AddrPort
	udp    bool
	want   string
}

// flows are connections into the pod and out of it, over both families.
func flows(p pod) []flow {
	var all []flow
	for _, f := range lab.Families() {
		all = append(all,
			flow{name: "inbound, " + string(f), from: p.Peer, to: lab.PodAddr.Port(f, 8080), want: proxyIn},
			flow{
				name: "outbound, " + string(f), from: p.Pod, client: lab.Client{Socket: lab.Socket{As: app().as}},
				to: lab.Outside.Port(f, 80), want: proxyOut,
			},
		)
	}
	return all
}

// dnsFlows are queries of the application to the pod's name servers.
func dnsFlows(p pod) []flow {
	var all []flow
	for _, f := range lab.Families() {
		all = append(all, flow{
			name: "DNS, " + string(f), from: p.Pod, client: lab.Client{Socket: lab.Socket{As: app().as}, Once: true},
			to: lab.Resolver.Port(f, 53), udp: true, want: proxyDNS,
		})
	}
	return all
}

// serveFlows makes the proxies' listeners, which serve both modes and both meshes,
// and servers at the flows' destinations: what gets past the proxy ends there, and
// so is told from what fails.
func serveFlows(t *testing.T, p pod) {
	t.Helper()
	serveProxy(t, p, true)
	linkerdListeners().serve(t, p)
	for _, f := range lab.Families() {
		serve(t, p, to(lab.PodAddr, 8080), false, f)
		serve(t, p, to(lab.Outside, 80), false, f)
		serve(t, p, to(lab.Resolver, 53), true, f)
	}
}

// flowPause bounds the number of connections of a flow. The kernel has 28,232
// ports for them, and takes each back a minute after its use.
const flowPause = time.Millisecond

// traffic is what became of connections that were made all the time.
type traffic struct {
	mu   sync.Mutex
	made int
	// astray counts those that failed or got past the proxy, by how.
	astray map[string]int
}

// clientPort is in the errors of package net and different in each.
var clientPort = regexp.MustCompile(`\S+:\d+->`)

func (tr *traffic) add(f flow, err error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.made++
	if err != nil {
		tr.astray[f.name+": "+clientPort.ReplaceAllString(err.Error(), "")]++
	}
}

// String returns the counts.
func (tr *traffic) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d connections", tr.made)
	for _, how := range slices.Sorted(maps.Keys(tr.astray)) {
		fmt.Fprintf(&b, "\n%6d %s", tr.astray[how], how)
	}
	return b.String()
}

// noticed reports whether any connection of the flow went astray.
func (tr *traffic) noticed(f flow) bool {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for how := range tr.astray {
		if strings.HasPrefix(how, f.name+": ") {
			return true
		}
	}
	return false
}

// keepConnecting makes one connection after the other of every flow, until stop is
// called. What becomes of them is told at any time.
func keepConnecting(t *testing.T, flows []flow) (tr *traffic, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	tr = &traffic{astray: make(map[string]int)}
	var clients sync.WaitGroup
	for _, f := range flows {
		clients.Go(func() {
			err := f.from.As(f.client.As, func() error {
				for ; ctx.Err() == nil; time.Sleep(flowPause) {
					tr.add(f, f.connect(t.Context()))
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	return tr, func() {
		cancel()
		clients.Wait()
	}
}

// connect makes one connection, from the namespace of the calling thread, and
// ends it.
func (f flow) connect(ctx context.Context) error {
	if f.udp {
		answer, err := f.from.AskUDP(ctx, f.client, f.to)
		if err != nil {
			return err
		}
		return wantServer(answer, f.want)
	}
	conn, err := f.client.DialHere(ctx, f.to)
	if err != nil {
		return err
	}
	defer conn.Close()
	return wantServer(conn.Answer, f.want)
}
