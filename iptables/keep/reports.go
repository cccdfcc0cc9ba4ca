package keep

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables"
	"github.com/meshtables/meshtables/iptables/namespace"
	"github.com/meshtables/meshtables/iptables/routes"
)

// A reload is several transactions in a row. After the first, reports are awaited for so long
// that they come singly, but never for longer than the limit: the sooner what is missing is
// back, the better.
const (
	settled     = 2 * time.Millisecond
	settleLimit = 50 * time.Millisecond
)

// maxAuthors bounds how many programs are named.
const maxAuthors = 4

// reports are what the kernel reports.
type reports struct {
	// arrived has a value if there was a report since the last one was awaited.
	arrived chan struct{}
	// self is the name of this program's processes, whose reports are about what it does itself.
	self string

	mu sync.Mutex
	by []string
}

func newReports() *reports {
	r := &reports{arrived: make(chan struct{}, 1)}
	if comm, err := os.ReadFile("/proc/self/comm"); err == nil {
		r.self = strings.TrimSpace(string(comm))
	}
	return r
}

// listen listens until end is called. If nobody can listen any more, that ends the context.
func (r *reports) listen(ctx context.Context, ns *namespace.Namespace, own iptables.Ownership, cancel context.CancelCauseFunc) (end func(), err error) {
	rules, err := nftables.Listen(ns, own)
	if err != nil {
		return nil, err
	}
	routing, err := routes.Listen(ns)
	if err != nil {
		return nil, errors.Join(err, rules.Close())
	}
	var group sync.WaitGroup
	follow := func(next func() (by string, err error)) {
		group.Go(func() {
			for {
				by, err := next()
				if err != nil {
					cancel(err)
					return
				}
				r.add(by)
			}
		})
	}
	follow(func() (string, error) {
		change, err := rules.Next(ctx)
		return change.By, err
	})
	follow(func() (string, error) { return "", routing.Next(ctx) })
	return func() {
		cancel(context.Canceled)
		group.Wait()
		_ = rules.Close()
		_ = routing.Close()
	}, nil
}

func (r *reports) add(by string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ours := r.self != "" && strings.HasPrefix(by, r.self+" ")
	if by != "" && !ours && !slices.Contains(r.by, by) && len(r.by) < maxAuthors {
		r.by = append(r.by, by)
	}
	select {
	case r.arrived <- struct{}{}:
	default:
	}
}

// authors returns who has changed something, as far as the kernel says.
func (r *reports) authors() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.by)
}

// forget forgets who has changed something until now.
func (r *reports) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.by = nil
}

// await waits for a report and those that follow at once, but not for longer than d.
func (r *reports) await(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(d):
		return
	case <-r.arrived:
	}
	for end := time.Now().Add(settleLimit); time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return
		case <-time.After(settled):
			return
		case <-r.arrived:
		}
	}
}
