package tests

import (
	"math/rand/v2"
	"testing"
)

// While the rules move between the two forms of nf_tables, and options change with
// them, every new connection is captured, none fails, and those that are open go
// on, although the program is killed at random moments.
func TestNoGapWhileFormsChange(t *testing.T) {
	t.Parallel()
	const changes = 400
	p := newPod(t, "iptables-nft")
	serveFlows(t, p)
	apply(t, p)
	open := openConnections(t, p)
	tr, stop := keepConnecting(t, flows(p))
	longest := applyDuration(t, p)
	for i := range changes {
		p.backend = []string{"iptables-nft", native, "iptables-legacy"}[rand.N(3)]
		if i%4 == 3 {
			applyAndKill(t, p, rand.N(longest))
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
	t.Log(tr)
	wantNoneAstray(t, tr)
	wantConvergence(t, p)
}
