package node

import (
	"context"
	"slices"
	"time"
)

// A pod that is just starting while the audit looks has no entry in libcni's cache yet, and one
// that something keeps from being repaired may be rid of that soon: Linkerd's validator listens in
// the proxy's place for some seconds. So there is more than one look, with longer and longer
// pauses. The last comes about five minutes after the first.
const (
	looks        = 10
	firstPause   = 5 * time.Second
	longestPause = time.Minute
)

// CaptureMissed captures the pods that the plugin should have captured when they started, and that
// have no rules: they came before it. It does so now, and whenever it is woken, until the context
// is done. Audit is an audit with [OnlyMissed]; tell is told of each. It looks again at least once,
// and as long as it has not captured all.
func CaptureMissed(ctx context.Context, wake <-chan struct{}, audit func() ([]Report, error), tell func([]Report, error)) {
	look, pause := 0, firstPause
	for {
		start := time.Now()
		reports, err := audit()
		if ctx.Err() != nil {
			return
		}
		tell(reports, err)
		look++
		var again <-chan time.Time
		if look < 2 || look < looks && (err != nil || slices.ContainsFunc(reports, isStillMissed)) {
			again = time.After(pause)
			pause = min(2*pause, longestPause)
		}
		select {
		case <-ctx.Done():
		case <-again:
		case <-wake:
			// Somebody may take the plugin away again and again.
			select {
			case <-ctx.Done():
			case <-time.After(firstPause - time.Since(start)):
			}
			look, pause = 0, firstPause
		}
	}
}

func isStillMissed(r Report) bool { return r.Repair != nil && r.Repair.Result != Repaired }
