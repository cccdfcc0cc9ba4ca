package tests

import (
	"math/rand/v2"
	"testing"
)

// While the rules move among the forms, and options change with them, every new
// connection is captured, none fails, and those that are open go on, although the
// program is killed at random moments.
func TestNoGapWhileFormsChange(t *testing.T) {
	t.Parallel()
	const changes = 400
	p := newPod(t, "iptables-nft")
	serveFlows(t, p)
	apply(t, p)
	open := openConnections(t, p)
	tr, stop := keepConnecting(t, flows(p))
	longest := applyDuration(t, p)
	killed := 0
	for i := range changes {
		p.backend = anyBackend()
		if i%4 == 3 {
			if applyAndKill(t, p, rand.N(longest)) {
				killed++
			}
		} else {
			apply(t, p, anyOptions()...)
		}
		wantStillOpen(t, open)
		if t.Failed() {
			break
		}
		if i%100 == 99 {
			// The servers end connections after a minute.
			open = openConnections(t, p)
		}
	}
	stop()
	t.Logf("killed %d times: %v", killed, tr)
	if killed < changes/20 {
		t.Errorf("killed %d times in %d changes: want more", killed, changes)
	}
	wantNoneAstray(t, tr)
	wantConvergence(t, p)
}

// While the rules move among the forms no DNS query goes unanswered or to the name
// server. The programs write the tables of a query's way one after the other, so here
// nothing is killed.
func TestNoGapInDNSWhileFormsChange(t *testing.T) {
	t.Parallel()
	p := newPod(t, "iptables-nft")
	serveFlows(t, p)
	apply(t, p, "--redirect-dns")
	tr, stop := keepConnecting(t, dnsFlows(p))
	for range 60 {
		p.backend = anyBackend()
		apply(t, p, append(anyOptions(), "--redirect-dns")...)
	}
	stop()
	t.Log(tr)
	wantNoneAstray(t, tr)
}

// anyBackend returns one of all, so that in time each comes after each other.
func anyBackend() string {
	all := backends()
	return all[rand.N(len(all))]
}
