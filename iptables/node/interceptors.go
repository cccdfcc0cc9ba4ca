package node

import (
	"cmp"
	"slices"

	"github.com/meshtables/meshtables/iptables/interceptor"
)

// Interceptors are BPF programs of others that are on the way of captured pods, and are the
// node's rather than a pod's.
type Interceptors struct {
	Programs []SharedProgram `json:"programs"`
	// Unread says what could not be read of captured pods, a sentence each.
	Unread []string `json:"unread,omitempty"`
}

func (i *Interceptors) count() int {
	if i == nil {
		return 0
	}
	return len(i.Programs)
}

// SharedProgram is a program with the number of captured pods that have it on their way.
type SharedProgram struct {
	interceptor.Program
	Pods int `json:"pods"`
}

// SharedGroup are programs that the same number of pods have on their way.
type SharedGroup struct {
	interceptor.Group
	Pods int
}

// Groups puts programs together that may do the same; see [interceptor.Groups].
func (i *Interceptors) Groups() []SharedGroup {
	var groups []SharedGroup
	var counts []int
	of := make(map[int][]interceptor.Program)
	for _, p := range i.Programs {
		if of[p.Pods] == nil {
			counts = append(counts, p.Pods)
		}
		of[p.Pods] = append(of[p.Pods], p.Program)
	}
	for _, n := range counts {
		for _, g := range interceptor.Groups(of[n]) {
			groups = append(groups, SharedGroup{g, n})
		}
	}
	return groups
}

// lookBeside looks at what others run beside the rules of a captured pod.
func (x *examination) lookBeside() {
	if r := x.report; r.isCaptured() {
		r.beside = x.auditor.interceptors.ReadOf(x.ctx, x.ns, x.processFolders())
	}
}

// isCaptured reports whether rules of ours send its traffic to a proxy.
func (r *Report) isCaptured() bool {
	return r.Rules > 0 && (r.State == AsWanted || r.State == Different)
}

// attachment is a program at a place of the machine.
type attachment struct {
	id           uint32
	hook, cgroup string
	above        bool
}

func attachmentOf(p *interceptor.Program) attachment {
	return attachment{p.ID, p.Hook, p.Cgroup, p.Above}
}

// tellInterceptors tells each pod's own programs in its report. It returns those of the node: on
// the top of the cgroups, or on the way of several captured pods. It is nil if there is nothing to
// tell. seen says whether any process of a pod was seen.
func tellInterceptors(reports []*Report, seen bool) *Interceptors {
	// Pods are looked at in any order.
	reports = slices.SortedFunc(slices.Values(reports), func(a, b *Report) int { return cmp.Compare(a.File, b.File) })
	pods := make(map[attachment]int)
	var shared Interceptors
	for _, r := range reports {
		for _, p := range r.beside.Diverting() {
			if p.Cgroup != "" {
				pods[attachmentOf(&p)]++
			}
		}
		for _, text := range r.beside.Unread {
			if !slices.Contains(shared.Unread, text) {
				shared.Unread = append(shared.Unread, text)
			}
		}
	}
	if !seen && slices.ContainsFunc(reports, (*Report).isCaptured) {
		shared.Unread = append(shared.Unread, "the BPF programs of cgroups could not be read: no process of a pod can be seen here")
	}
	told := make(map[attachment]bool)
	for _, r := range reports {
		var own []interceptor.Program
		for _, p := range r.beside.Diverting() {
			at := attachmentOf(&p)
			switch {
			case p.Cgroup != topCgroup && pods[at] < 2:
				own = append(own, p)
			case !told[at]:
				told[at] = true
				shared.Programs = append(shared.Programs, SharedProgram{p, pods[at]})
			}
		}
		for _, g := range interceptor.Groups(own) {
			r.add(Intercepted, g.String(), g.Hint())
		}
	}
	if len(shared.Programs)+len(shared.Unread) == 0 {
		return nil
	}
	if shared.Programs == nil {
		shared.Programs = []SharedProgram{}
	}
	return &shared
}

// topCgroup is the cgroup that all processes are in.
const topCgroup = "/"
