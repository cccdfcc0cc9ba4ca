package node

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/cni"
	"github.com/meshtables/meshtables/iptables/cni/cache"
	"github.com/meshtables/meshtables/iptables/interceptor"
)

// Auditor compares the pods of a machine with what they ask for.
type Auditor struct {
	Node Node
	// Policies are all that there are for pods.
	Policies capture.Policies
	// Host is what pods need in the machine's own network namespace.
	Host HostSide
	// Settings are the plugin's entry on the node; nil if it has none.
	Settings *cni.Settings
	// Repair says what to do about what is not as wanted.
	Repair RepairMode
	// Verbose keeps what verify says.
	Verbose bool
	// Progress, unless it is nil, is told how many pods have been looked at. It is called
	// from one goroutine at a time.
	Progress func(done, total int)

	interceptors *interceptor.Reader
}

// workers is how many pods are looked at at once. Each takes a few sockets and a thread: the
// kernel answers on the thread that asks, so more would only wait for processors.
const workers = 4

// patience is how long a pod may take. A real kernel takes milliseconds.
const patience = 30 * time.Second

// Audit looks at all pods, or at those that are named. The worst is first. Pods that end
// meanwhile are left out. It returns an error if the machine cannot be looked at.
func (a *Auditor) Audit(ctx context.Context, only ...string) (Run, error) {
	start := time.Now()
	a.interceptors = new(interceptor.Reader)
	found, err := a.Node.Find(ctx)
	if err != nil {
		return Run{}, err
	}
	var all []*Report
	if len(only) > 0 {
		found.Pods = slices.DeleteFunc(found.Pods, func(p Pod) bool { return !p.isNamed(only) })
	} else {
		for _, file := range found.Broken {
			all = append(all, reportOf(file))
		}
	}
	all = append(all, a.examineAll(ctx, found.Pods)...)
	seen := slices.ContainsFunc(found.Pods, func(p Pod) bool { return len(p.processes) > 0 })
	run := Run{Interceptors: tellInterceptors(all, seen)}
	slices.SortFunc(all, worstFirst)
	run.Reports = make([]Report, len(all))
	for i, r := range all {
		run.Reports[i] = *r
	}
	run.At = time.Now()
	run.Took = run.At.Sub(start)
	return run, ctx.Err()
}

// reportOf returns the report about a pod of which nothing is known but an entry of the cache
// that cannot be read.
func reportOf(file cache.Broken) *Report {
	r := &Report{File: file.Path, FoundIn: []Source{InCache}}
	r.complete()
	r.fail(BadEntry, errors.New("this entry of libcni's cache cannot be read: "+file.Why))
	return r
}

// examineAll looks at pods, a few at once.
func (a *Auditor) examineAll(ctx context.Context, pods []Pod) []*Report {
	next := make(chan *Pod)
	go func() {
		defer close(next)
		for i := range pods {
			select {
			case next <- &pods[i]:
			case <-ctx.Done():
				return
			}
		}
	}()
	var all []*Report
	var mu sync.Mutex
	done := 0
	var group sync.WaitGroup
	for range min(workers, len(pods)) {
		group.Go(func() {
			for p := range next {
				r, err := a.examine(ctx, p)
				mu.Lock()
				if done++; a.Progress != nil {
					a.Progress(done, len(pods))
				}
				if !errors.Is(err, errGone) {
					all = append(all, &r)
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return all
}

// isNamed reports whether a pod is one of those.
func (p *Pod) isNamed(names []string) bool {
	if slices.Contains(names, p.String()) {
		return true
	}
	return slices.ContainsFunc(p.rivals, func(r Pod) bool { return slices.Contains(names, r.String()) })
}
