package tests

import (
	"testing"
	"time"

	"github.com/meshtables/meshtables/tests/soak"
)

// While the rules move among the forms, and options change with them, every new
// connection is captured, none fails, and those that are open go on, although the
// program is killed at random moments.
func TestNoGapWhileFormsChange(t *testing.T) {
	t.Parallel()
	changes := soak.Times(100, 400)
	p := newPod(t, "iptables-nft")
	serveFlows(t, p)
	apply(t, p)
	open := openConnections(t, p)
	tr, stop := keepConnecting(t, flows(p))
	usual := applyDuration(t, p)
	killed := 0
	for i := range changes {
		p.backend = p.anyBackend()
		if i%4 == 3 {
			if applyAndKill(t, p, time.Duration(p.random.Int64N(int64(usual)))) {
				killed++
			}
		} else {
			apply(t, p, p.anyOptions()...)
		}
		wantStillOpen(t, open)
		if t.Failed() {
			break
		}
		if i%100 == 99 {
			// The servers do not keep connections for ever.
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
	for range soak.Times(30, 60) {
		p.backend = p.anyBackend()
		apply(t, p, append(p.anyOptions(), "--redirect-dns")...)
	}
	stop()
	t.Log(tr)
	wantNoneAstray(t, tr)
}

// anyBackend returns one of all, so that in time each comes after each other.
func (p pod) anyBackend() string {
	all := backends()
	return all[p.random.IntN(len(all))]
}

// Where rules move within nf_tables, the kernel takes them in as few transactions as
// docs/backends.md says.
func TestTransactionsOfMoves(t *testing.T) {
	t.Parallel()
	const compatible = "iptables-nft"
	for name, move := range map[string]struct {
		from, to         string
		before, after    string
		wantTransactions uint32
	}{
		"to native":                        {compatible, native, "REDIRECT", "REDIRECT", 1},
		"to native, to REDIRECT":           {compatible, native, "TPROXY", "REDIRECT", 1},
		"to native, TPROXY":                {compatible, native, "TPROXY", "TPROXY", 2},
		"to native, from REDIRECT":         {compatible, native, "REDIRECT", "TPROXY", 3},
		"to iptables-nft":                  {native, compatible, "REDIRECT", "REDIRECT", 2},
		"to iptables-nft, TPROXY":          {native, compatible, "TPROXY", "TPROXY", 4},
		"within a form":                    {compatible, compatible, "TPROXY", "REDIRECT", 1},
		"within a form, from REDIRECT":     {compatible, compatible, "REDIRECT", "TPROXY", 2},
		"within the native form":           {native, native, "TPROXY", "REDIRECT", 1},
		"within the native, from REDIRECT": {native, native, "REDIRECT", "TPROXY", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, move.from)
			apply(t, p, "--mode="+move.before)
			before := nftGeneration(t, p)
			p.backend = move.to
			apply(t, p, "--mode="+move.after)
			if got := nftGeneration(t, p) - before; got != move.wantTransactions {
				t.Errorf("took %d transactions, want %d", got, move.wantTransactions)
			}
		})
	}
}
