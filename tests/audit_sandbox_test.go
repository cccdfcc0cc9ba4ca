package tests

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/tests/built"
)

// sandboxedPod is a pod in whose network namespace a process runs, by which audit tells whether the
// pod's network stack is the one of its namespace.
type sandboxedPod struct {
	name        string
	annotations map[string]string
	uncached    bool
	// before runs on the machine before the process. There and in process $ns is the file of the
	// pod's namespace, and $dir a folder of the machine.
	before string
	// process becomes the process. It starts on the machine, outside of the namespace.
	process string
	// program ends the path of the process's executable.
	program string
	// after runs when it is there.
	after        string
	state, kinds string
}

const (
	inside = `exec nsenter --net=$ns `
	// A monitor of virtual machines, as Kata starts it, paused and without a disk.
	monitor = inside + `sh -ec 'ip tuntap add tap0_kata mode tap; exec qemu-system-x86_64 -S -accel tcg -m 16 -nodefaults -display none ` +
		`-netdev tap,id=net,ifname=tap0_kata,script=no,downscript=no -device virtio-net-pci,netdev=net'`
	// gVisor's kernel is started by what /proc says its program is, with a file system without it.
	copyRunsc = "cp /bin/sleep $dir/runsc"
	sentry    = inside + `unshare --mount bash -ec 'exec 9<"$1"; mount -t tmpfs tmpfs "$2"; exec -a runsc-sandbox /proc/self/fd/9 3600' sh $dir/runsc $dir`
	// In a container a program may have any name, also the path of a program of the machine.
	inContainer = inside + `unshare --mount sh -ec 'mount -t tmpfs tmpfs "$2"; cp /bin/sleep "$1"; exec "$1" 3600' sh `
	// Kata's program beside a pod.
	copyShim = "cp $shim $dir/containerd-shim-kata-v2"
	shim     = "exec $dir/containerd-shim-kata-v2 $ns "
	// Firecracker, as its jailer copies it into a file system of its own.
	jailed = `unshare --mount sh -ec 'mount -t tmpfs tmpfs /mnt; cp /bin/sleep /mnt/firecracker; exec /mnt/firecracker 3600'`
)

func sandboxedPods() []sandboxedPod {
	itself := map[string]string{"sidecar.istio.io/status": byItself}
	ambient := map[string]string{"ambient.istio.io/redirection": "enabled"}
	const wrong = "sandbox"
	return []sandboxedPod{
		{name: "s/qemu", annotations: injected(), process: monitor, program: "qemu-system-x86_64", state: "sandboxed", kinds: wrong},
		{name: "s/gvisor", annotations: injected(), before: copyRunsc, process: sentry, program: "runsc", state: "sandboxed", kinds: wrong},
		{name: "s/captured", annotations: injected(), before: copyRunsc + "; nsenter --net=$ns meshtables", process: sentry, program: "runsc", state: "sandboxed", kinds: wrong},
		{name: "s/upgraded", annotations: injected(), before: copyRunsc, process: sentry, program: "runsc", after: "rm $dir/runsc", state: "sandboxed", kinds: wrong},
		{name: "s/dragonball", annotations: injected(), before: copyShim, process: shim, program: "containerd-shim-kata-v2", state: "sandboxed", kinds: wrong},
		{name: "s/jailed", annotations: injected(), before: copyShim, process: shim + jailed, program: "firecracker", state: "sandboxed", kinds: wrong},
		{name: "s/linkerd", annotations: injectedByLinkerd(), before: copyRunsc, process: sentry, program: "runsc", state: "sandboxed", kinds: wrong},
		{name: "s/ambient", annotations: ambient, before: copyRunsc, process: sentry, program: "runsc", state: "sandboxed", kinds: wrong},
		{name: "s/unknown", uncached: true, before: copyRunsc + "; nsenter --net=$ns meshtables", process: sentry, program: "runsc", state: "sandboxed", kinds: wrong},
		{name: "s/itself", annotations: itself, before: copyRunsc, process: sentry, program: "runsc", state: "sandboxed"},
		{name: "s/outside", annotations: map[string]string{}, before: copyRunsc, process: sentry, program: "runsc", state: "not-in-mesh"},
		{name: "s/unknown-outside", uncached: true, before: copyRunsc, process: sentry, program: "runsc", state: "not-in-mesh"},

		{name: "o/named", annotations: injected(), process: inContainer + "$dir/runsc $dir", program: "runsc", state: "uncaptured", kinds: "no-rules proxy-not-listening"},
		// As in the pods of KubeVirt, on a machine that has Kata too.
		{name: "o/kubevirt", annotations: injected(), before: "cp /bin/sleep $dir/qemu-system-x86_64", process: inContainer + "$dir/qemu-system-x86_64 $dir", program: "qemu-system-x86_64",
			state: "uncaptured", kinds: "no-rules proxy-not-listening"},
		// A volume is on the machine's file system.
		{name: "o/volume", annotations: injected(), before: copyRunsc + "; mkdir $dir/volume; cp /bin/sleep $dir/volume/runsc",
			process: inside + `unshare --mount sh -ec 'mount --bind "$1/volume" "$1"; exec "$1/runsc" 3600' sh $dir`, program: "runsc", state: "uncaptured", kinds: "no-rules proxy-not-listening"},
		{name: "o/argument", annotations: injected(), process: inside + "bash -c 'exec -a runsc-sandbox sleep 3600'", program: "sleep", state: "uncaptured", kinds: "no-rules proxy-not-listening"},
		{name: "o/shim", annotations: injected(), process: inContainer + "$dir/containerd-shim-kata-v2 $dir", program: "containerd-shim-kata-v2", state: "uncaptured", kinds: "no-rules proxy-not-listening"},
	}
}

// waiting is a script that waits until the process is what it is to be.
const waiting = `
	want=$(nsenter --net=$ns readlink /proc/self/ns/net)
	for i in $(seq 500); do
		for p in /proc/[0-9]*; do
			case "$(readlink $p/exe)" in */$program) ls -l $p/task/*/ns/net | grep -qF "$want" && exit 0;; esac
		done
		sleep 0.02
	done
	echo "no process runs $program" >&2
	exit 1`

// startSandboxed starts the process of a pod, which ends with the machine.
func (m *machine) startSandboxed(t *testing.T, p *nodePod, row *sandboxedPod, shim string) {
	t.Helper()
	script := "ns=" + p.file() + " dir=" + t.TempDir() + " shim=" + shim + " program=" + row.program + "\n"
	for _, part := range []string{row.before, "(" + row.process + ") >/dev/null 2>&1 </dev/null &", waiting} {
		if part != "" {
			m.sh(t, script+part)
		}
	}
	if row.after != "" {
		m.sh(t, script+row.after)
	}
}

// A pod whose network stack is its sandbox's is told by the machine's own program for it, whatever
// the process calls itself, and by no program of the pod's. It is wrong unless somebody has said
// that the rules are inside. Nothing is written into it.
func TestAuditSandboxed(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		missing(t, err.Error())
	}
	shim := filepath.Join(t.TempDir(), "shim")
	if err := built.Build("", shim, "github.com/meshtables/meshtables/tests/shim"); err != nil {
		t.Fatal(err)
	}
	m := newMachine(t)
	rows := sandboxedPods()
	pods := make([]*nodePod, len(rows))
	for i, row := range rows {
		pods[i] = &nodePod{name: row.name, number: i + 1, annotations: row.annotations, uncached: row.uncached}
		m.start(t, pods[i])
		m.startSandboxed(t, pods[i], &rows[i], shim)
	}
	check := func(when string, wantStatus int, kinds func(*sandboxedPod) string, args ...string) map[string]*auditedReport {
		t.Helper()
		reports, status := m.auditJSON(t, args...)
		if status != wantStatus {
			t.Errorf("%s: exit status %d, want %d", when, status, wantStatus)
		}
		for i := range rows {
			r := reports[pods[i].file()]
			if r == nil {
				t.Errorf("%s: %s: audit says nothing", when, rows[i].name)
				continue
			}
			if r.State != rows[i].state || r.kinds() != kinds(&rows[i]) {
				t.Errorf("%s: %s is %s, want %s: %v", when, rows[i].name, r.State, rows[i].state, r.Problems)
			}
		}
		return reports
	}
	ruleset := func(p *nodePod) string {
		return m.sh(t, p.in("nft list ruleset; ip -br address"))
	}
	before := make([]string, len(pods))
	for i, p := range pods {
		before[i] = ruleset(p)
	}
	own := func(r *sandboxedPod) string { return r.kinds }
	reports := check("first", 3, own)
	if r := reports[pods[0].file()]; len(r.Problems) == 1 && (!strings.HasPrefix(r.Problems[0].Text, "the pod's network stack is its sandbox's (qemu-system-x86_64, process ") || r.Problems[0].Hint == "") {
		t.Errorf("the problem is %+v", r.Problems[0])
	}
	for name, want := range map[string]bool{"s/qemu": true, "s/jailed": true, "o/kubevirt": false} {
		_, stderr, _ := m.run(t, built.Program(), "show", "--cni-cache="+m.cache, "--pod="+name)
		if got := strings.Contains(stderr, "warning: the pod's network stack is its sandbox's ("); got != want {
			t.Errorf("show --pod=%s says %q", name, stderr)
		}
	}
	m.checkRepairOfSandboxed(t, rows, pods)
	for i, p := range pods {
		if rows[i].state == "uncaptured" {
			continue
		}
		if now := ruleset(p); now != before[i] {
			t.Errorf("%s: repairing has changed it from\n%s\nto\n%s", rows[i].name, before[i], now)
		}
	}
	for i := range rows {
		if rows[i].state == "uncaptured" {
			rows[i].state, rows[i].kinds = "as-wanted", "proxy-not-listening"
		}
	}
	m.configure(t, `{"type": "meshtables", "sandboxed": "skip"}`)
	check("when somebody has said so", 0, func(r *sandboxedPod) string { return strings.TrimPrefix(r.kinds, "sandbox") })
}

// checkRepairOfSandboxed repairs, and looks at what is said of the pods.
func (m *machine) checkRepairOfSandboxed(t *testing.T, rows []sandboxedPod, pods []*nodePod) {
	t.Helper()
	reports, _ := m.auditJSON(t, "--repair")
	for i := range rows {
		r := reports[pods[i].file()]
		want := ""
		switch {
		case rows[i].state == "uncaptured":
			want = "repaired"
		case rows[i].kinds != "":
			want = "left"
		}
		got := ""
		if r.Repair != nil {
			got = r.Repair.Result
		}
		if got != want {
			t.Errorf("%s: repairing says %q, want %q", rows[i].name, got, want)
		}
	}
}
