package e2e

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// load is traffic that must not notice what happens meanwhile: somebody who calls
// an application again and again, each time over a new connection, and one
// connection that lasts.
type load struct {
	name   string
	caller caller
	to     netip.AddrPort
	about  []question

	talk *conversation
	end  context.CancelFunc
	over sync.WaitGroup
	mu   sync.Mutex
	// calls counts all, lost those that failed; err is the first failure.
	calls, lost int
	err         error
}

// A load pauses between two calls, and makes no more than so many, whatever
// happens.
const (
	loadPause = 2 * time.Millisecond
	loadLimit = 5000
)

// start begins the traffic, which ends with the test at the latest.
func (l *load) start(t testing.TB, m *mesh) {
	t.Helper()
	var err error
	if l.talk, err = l.caller.converse(t.Context(), l.to); err == nil {
		err = l.talk.exchange()
	}
	if err != nil {
		m.fatalf(t, l.about, "%s: %v", l.name, err)
	}
	ctx, end := context.WithCancel(t.Context())
	l.end = end
	l.over.Go(func() {
		for range loadLimit {
			if ctx.Err() != nil {
				return
			}
			_, err := l.caller.call(t.Context(), l.to.String())
			l.add(err)
			time.Sleep(loadPause)
		}
	})
	t.Cleanup(func() {
		end()
		l.over.Wait()
		l.talk.Close()
	})
}

func (l *load) add(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	if err != nil {
		l.lost++
		if l.err == nil {
			l.err = err
		}
	}
}

// more waits until calls have been made that were begun after now.
func (l *load) more(t testing.TB, m *mesh) {
	t.Helper()
	made := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.calls
	}
	const several = 10
	enough := made() + several
	for made() < enough {
		if err := t.Context().Err(); err != nil {
			m.fatalf(t, l.about, "%s: no %d calls more: %v", l.name, several, err)
		}
		time.Sleep(loadPause)
	}
}

// stop ends the traffic and fails the test if any of it was lost.
func (l *load) stop(t testing.TB, m *mesh) {
	t.Helper()
	l.end()
	l.over.Wait()
	if l.lost > 0 {
		m.errorf(t, l.about, "%s: lost %d of %d calls: %v", l.name, l.lost, l.calls, l.err)
	}
	if err := l.talk.exchange(); err != nil {
		m.errorf(t, l.about, "%s: lost the connection: %v", l.name, err)
	}
}
