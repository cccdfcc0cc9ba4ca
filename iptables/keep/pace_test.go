package keep

import (
	"testing"
	"time"
)

// A few restorations in a row are made at once. Then each waits longer than the one before, up to
// a limit, until nothing has happened for a while.
func TestPace(t *testing.T) {
	t.Parallel()
	var p pace
	now := time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	next := func(after, want time.Duration) {
		t.Helper()
		now = now.Add(after)
		got := p.next(now)
		if got != want {
			t.Errorf("after %v: got %v, want %v", after, got, want)
		}
		now = now.Add(got)
	}
	for range 2 {
		next(calm+1, 0)
		for range atOnce - 1 {
			next(10*time.Millisecond, 0)
		}
		for _, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
			next(10*time.Millisecond, want*time.Second)
		}
		next(calm, longestRest)
	}
	// Somebody who does it every minute gets it back at once, for ever.
	for range 3 * atOnce {
		next(time.Minute, 0)
	}
}
