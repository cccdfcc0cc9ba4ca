package tests

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/meshtables/meshtables/tests/intercept"
)

// interceptedMachine is a machine with captured pods and one outside the mesh, each with a process
// in a cgroup of its own below that of the node.
type interceptedMachine struct {
	*machine
	node    *intercept.Cgroup
	cgroups map[string]*intercept.Cgroup
	pods    map[string]*nodePod
}

func newInterceptedMachine(t *testing.T) *interceptedMachine {
	t.Helper()
	// The machine, and with it the processes, ends before the cgroups go.
	m := &interceptedMachine{node: newCgroup(t), cgroups: make(map[string]*intercept.Cgroup), pods: make(map[string]*nodePod)}
	names := []string{"web", "cart", "tools"}
	for _, name := range names {
		m.cgroups[name] = m.node.Below(t, name)
	}
	m.machine = newMachine(t)
	for i, name := range names {
		p := &nodePod{name: "shop/" + name, number: i + 1, annotations: map[string]string{}}
		m.pods[name] = p
		if name != "tools" {
			p.annotations = injected()
		}
		m.start(t, p)
		m.sh(t, p.in(m.cgroups[name].Enter()+"; sleep 3600 >/dev/null 2>&1 &"))
		if name != "tools" {
			m.listen(t, p, 15001, 15006)
			m.sh(t, p.in("meshtables"))
		}
	}
	return m
}

// lines returns what audit says, without the lines about pods, and its exit status.
func (m *interceptedMachine) lines(t *testing.T, args ...string) (about map[string]string, rest string) {
	t.Helper()
	stdout, stderr, status := m.audit(t, args...)
	if stderr != "" || status != 0 {
		t.Errorf("audit %q: exit status %d\n%s%s", args, status, stdout, stderr)
	}
	about = make(map[string]string)
	last := ""
	for line := range strings.Lines(stdout) {
		switch name, _, _ := strings.Cut(line, " "); {
		case m.pods[strings.TrimPrefix(name, "shop/")] != nil:
			last = strings.TrimPrefix(name, "shop/")
			about[last] += line
		case last != "" && strings.HasPrefix(line, "  "):
			about[last] += line
		default:
			last = ""
			rest += line
		}
	}
	return about, rest
}

// A pod's own programs are told with the pod, those of the node once. Neither makes a pod other
// than it is wanted, and who is not captured is left out.
func TestAuditInterceptors(t *testing.T) {
	t.Parallel()
	m := newInterceptedMachine(t)
	const quiet = "3 pods: 2 as-wanted, 1 not-in-mesh\n"
	wantQuiet := func(when string) {
		t.Helper()
		about, rest := m.lines(t)
		if text := rest + about["web"] + about["cart"] + about["tools"]; rest != quiet || strings.Contains(text, "BPF") {
			t.Errorf("%s: %s", when, text)
		}
	}
	wantQuiet("before")

	at := ebpf.AttachCGroupInet4Connect
	shared := intercept.Pass(t, "calico_connect_v4", ebpf.CGroupSockAddr, at)
	detach := m.node.Attach(t, at, shared)
	name := fmt.Sprintf("%d calico_connect_ (connect4 on cgroup %s)", intercept.ID(t, shared), m.node.Name)
	about, rest := m.lines(t)
	want := quiet + "? on the way of 2 captured pods, Calico may rewrite the destination before the rules see it: BPF program " + name +
		"\n  hint: set bpfConnectTimeLoadBalancing to Disabled in Calico's FelixConfiguration\n"
	if rest != want || strings.Contains(about["web"]+about["cart"]+about["tools"], "BPF") {
		t.Errorf("the node's: got\n%s%v\nwant\n%s", rest, about, want)
	}
	// Who asks about one pod is told what is on its way.
	if out, _, _ := m.audit(t, "--pod=shop/web"); !strings.Contains(out, "Calico may rewrite the destination before the rules see it: BPF program "+name) {
		t.Errorf("the node's, of one pod:\n%s", out)
	}
	detach()
	wantQuiet("without the node's")

	own := intercept.Pass(t, "mine", ebpf.CGroupSockAddr, at)
	detach = m.cgroups["web"].Attach(t, at, own)
	m.cgroups["tools"].Attach(t, at, intercept.Pass(t, "tools", ebpf.CGroupSockAddr, at))
	name = fmt.Sprintf("BPF program %d mine (connect4 on cgroup %s)", intercept.ID(t, own), m.cgroups["web"].Name)
	about, rest = m.lines(t)
	if rest != quiet || !strings.Contains(about["web"], "  as-wanted    another program may rewrite the destination before the rules see it: "+name+"\n  hint: ") ||
		strings.Contains(about["cart"]+about["tools"], "BPF") {
		t.Errorf("a pod's own: got\n%s%v", rest, about)
	}
	var answer struct {
		Result string
		Pods   []struct {
			Name, State string
			Problems    []struct{ Kind, Text, Hint string }
		}
		Interceptors *struct{}
	}
	stdout, _, _ := m.audit(t, "-O", "json")
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil || answer.Result != "as wanted" || answer.Interceptors != nil ||
		answer.Pods[0].Name != "web" || len(answer.Pods[0].Problems) != 1 || answer.Pods[0].Problems[0].Kind != "interceptors" {
		t.Errorf("a pod's own: %v\n%s", err, stdout)
	}
	if metrics, _, _ := m.audit(t, "-O", "openmetrics"); !strings.Contains(metrics, `meshtables_pod_problem{namespace="shop",pod="web",problem="interceptors"} 1`) {
		t.Errorf("a pod's own:\n%s", metrics)
	}
	detach()
	wantQuiet("without the pod's")
}
