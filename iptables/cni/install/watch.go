package install

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// interval is how often everything is looked at although nothing was reported: the kernel
// drops reports if there are too many (inotify(7)).
const interval = 10 * time.Second

// If the entry is gone again so soon after it was put back, somebody takes it out whenever it
// is there. Then there is a rest before it is put back, so that the two do not keep the
// machine busy.
const (
	quarrel = 20 * time.Millisecond
	rest    = time.Second
)

// patience is how long a file may be half written.
const patience = 200 * time.Millisecond

// mendPatiently is [Node.Mend] where others write files that are not whole at once.
func (n *Node) mendPatiently(ctx context.Context, e Entry) (Done, error) {
	done, err := n.Mend(e)
	if !errors.Is(err, errNoChain) {
		return done, err
	}
	sleep(ctx, patience)
	return n.Mend(e)
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// watchDropIns watches the folders that have drop-ins. What is not reported is found later.
func (n *Node) watchDropIns(watcher *fsnotify.Watcher) {
	_, dropIns, _ := n.ownFiles()
	for _, file := range dropIns {
		_ = watcher.Add(filepath.Dir(file))
	}
}

// Watch keeps the program and the entry in place until the context is done. It tells what it
// did, and why it could not do it; the same reason in a row is told once.
func (n *Node) Watch(ctx context.Context, e Entry, tell func(Done, error)) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer watcher.Close()
	for _, folder := range []string{n.Networks, n.Plugins} {
		if err := watcher.Add(folder); err != nil {
			return err
		}
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	told := ""
	var last time.Time
	for {
		done, err := n.mendPatiently(ctx, e)
		reason := done.Unread
		if err != nil {
			reason = err.Error()
		}
		if n.Mode == ModeDropIn {
			n.watchDropIns(watcher)
		}
		if done.Changed() || reason != "" && reason != told {
			tell(done, err)
		}
		told = reason
		if done.Changed() {
			if time.Since(last) < quarrel {
				sleep(ctx, rest)
			}
			last = time.Now()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-watcher.Events:
		case <-watcher.Errors:
		case <-tick.C:
		}
	}
}
