package tests

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/meshtables/meshtables/tests/built"
	"github.com/meshtables/meshtables/tests/soak"
)

// auditCost is what an audit takes. Files and threads are the most that were seen.
type auditCost struct {
	took           time.Duration
	memory         int64 // KiB
	files, threads int
}

// An audit of many pods takes little time and memory, grows with their number, and never has
// more open than a few pods need.
func TestAuditScale(t *testing.T) {
	m := newMachine(t)
	costs := make(map[int]auditCost)
	steps := []int{25, 100}
	if soak.Whole() {
		steps = []int{250, 1000}
	}
	pods := 0
	for _, n := range steps {
		for ; pods < n; pods++ {
			m.startMany(t, &nodePod{name: fmt.Sprintf("many/pod-%d", pods), number: pods + 1, annotations: injected("traffic.sidecar.istio.io/excludeInboundPorts", "80,443")})
		}
		costs[n] = m.cost(t, n)
		t.Logf("%d pods: %v, %d KiB, at most %d files and %d threads", n, costs[n].took, costs[n].memory, costs[n].files, costs[n].threads)
	}
	few, many := costs[steps[0]], costs[steps[1]]
	if many.files > 64 || many.threads > 32 {
		t.Errorf("%d files and %d threads are open", many.files, many.threads)
	}
	// When the garbage collector runs makes a difference of some MiB.
	if many.memory > few.memory+4<<10+int64(steps[1]-steps[0])*32 {
		t.Errorf("memory grows from %d to %d KiB", few.memory, many.memory)
	}
	if ratio := float64(steps[1]) / float64(steps[0]); many.took > time.Duration(2*ratio*float64(few.took))+time.Second {
		t.Errorf("time grows from %v to %v", few.took, many.took)
	}
	if soak.Whole() && (few.took > 2*time.Second || few.memory > 40<<10) {
		t.Errorf("%d pods take %v and %d KiB, want at most 2 s and 40 MiB", steps[0], few.took, few.memory)
	}
}

// startMany makes a pod with 20 rules and a process.
func (m *machine) startMany(t *testing.T, p *nodePod) {
	m.sh(t, fmt.Sprintf("ip netns add cni-%d\n", p.number)+p.in("ip link set lo up; meshtables --ipv6=off --excluded-ports=15020,15021,15090,80,443; sleep 3600 >/dev/null 2>&1 &"))
	m.store(t, p, m.cache)
}

var numberOfThreads = regexp.MustCompile(`(?m)^Threads:\s+(\d+)$`)

// cost audits n pods, which all are as wanted, and watches what that takes.
func (m *machine) cost(t *testing.T, n int) auditCost {
	t.Helper()
	cmd := m.command(t.Context(), built.Program(), "audit", "--cni-cache="+m.cache, "--network-folder="+m.networks)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- cmd.Wait() }()
	var c auditCost
	for {
		select {
		case err := <-ended:
			c.took = time.Since(start)
			if want := fmt.Sprintf("%d pods: %[1]d as-wanted\n", n); err != nil || !strings.HasSuffix(out.String(), want) {
				t.Fatalf("%v\n%s", err, &out)
			}
			c.memory = cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
			return c
		case <-time.After(2 * time.Millisecond):
		}
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
		process := "/proc/" + strings.TrimSpace(string(children))
		files, _ := os.ReadDir(process + "/fd")
		status, _ := os.ReadFile(process + "/status")
		c.files = max(c.files, len(files))
		if found := numberOfThreads.FindSubmatch(status); found != nil {
			threads, _ := strconv.Atoi(string(found[1]))
			c.threads = max(c.threads, threads)
		}
	}
}
