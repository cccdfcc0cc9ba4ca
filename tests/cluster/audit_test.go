package cluster

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// damaged is a pod with what is done to it on the node, and what audit has to say, before and
// after repairing. In the scripts $NS is the pod's network namespace, and inside runs a program
// there.
type damaged struct {
	name, script  string
	before, after string
	problem       string
	// plain says that the pod is not in the mesh.
	plain bool
}

func damages() []damaged {
	return []damaged{
		{name: "healthy", before: "as-wanted", after: "as-wanted"},
		{name: "plain", plain: true, before: "not-in-mesh", after: "not-in-mesh"},
		{name: "flushed", script: "inside nft flush ruleset", before: "uncaptured", after: "as-wanted", problem: "no-rules"},
		{name: "moved", script: "inside iptables -t nat -D ISTIO_INBOUND 1; inside iptables -t nat -A ISTIO_INBOUND -p tcp --dport 15008 -j RETURN",
			before: "different", after: "as-wanted", problem: "drift"},
		{name: "ambient-instead", script: "/opt/cni/bin/meshtables --network-namespace=$NS --dataplane-mode=ambient --replace-dataplane",
			before: "different", after: "as-wanted", problem: "other-dataplane"},
		{name: "redirected", script: "inside iptables -t nat -I OUTPUT -p tcp -j REDIRECT --to-ports 9",
			before: "different", after: "different", problem: "foreign-rules"},
		// The image has no iptables programs, and says so; the program on the node can use those there.
		{name: "twice", script: "inside iptables-nft-save -t nat | inside iptables-legacy-restore", before: "unreadable", after: "unreadable", problem: "failed"},
		{name: "uncached", script: "rm $(grep -l '\"uncached\"' /var/lib/cni/results/*)", before: "", after: ""},
		{name: "two-pods", script: "cd /var/lib/cni/results; f=$(ls -d $(grep -l '\"two-pods\"' *) | grep eth0); " +
			`sed 's/"two-pods"/"another"/; s/istio-proxy/istio-init/' $f | sed "s/\"containerId\":\"[0-9a-f]*\"/\"containerId\":\"$(printf %064d 7)\"/" >pods-$(printf %064d 7)-eth0`,
			before: "unreadable", after: "unreadable", problem: "two-pods"},
	}
}

// TestAudit audits the pods of a cluster, by the DaemonSet and by kubectl exec, damages some,
// and repairs them.
func TestAudit(t *testing.T) {
	c := newCluster(t)
	// It starts before the plugin is there, whose DaemonSet captures it.
	c.apply(t, single("early"))
	c.do(t, "wait", "--for=condition=Ready", "pod/early", "--timeout="+patience.String())
	for _, folder := range []string{"cni", "audit"} {
		more := ""
		if folder == "audit" {
			more = "patches:\n- target: {kind: DaemonSet}\n  patch: |\n    - {op: replace, path: /spec/template/spec/containers/0/args/1, value: --every=2s}\n"
		}
		c.applyFolder(t, folder, more)
		c.rolledOut(t, "daemonset/meshtables-"+folder, "-n", "meshtables")
	}
	c.apply(t, fmt.Sprintf(shop, 20))
	c.applyFolder(t, "example", "")
	for _, d := range damages() {
		manifest := single(d.name)
		if d.plain {
			manifest = strings.Replace(manifest, injected, "example.org/a: b", 1)
		}
		c.apply(t, manifest)
	}
	c.rolledOut(t, "deployment/shop")
	c.rolledOut(t, "deployment/example")
	for _, d := range damages() {
		c.do(t, "wait", "--for=condition=Ready", "pod/"+d.name, "--timeout="+patience.String())
	}
	c.damage(t)

	states, files := c.audit(t, 3)
	c.compare(t, "at first", states, func(d *damaged) string { return d.before })
	if states["early"] != "as-wanted" {
		t.Errorf("the pod from before the plugin is %q", states["early"])
	}
	c.wantMetrics(t, "flushed", "uncaptured")

	repaired, _ := c.audit(t, 3, "--repair")
	c.compare(t, "repaired", repaired, func(d *damaged) string { return d.after })
	c.wantMetrics(t, "flushed", "as-wanted")

	c.mend(t, files)
	if clean, _ := c.audit(t, 0); clean["redirected"] != "as-wanted" || clean["two-pods"] != "as-wanted" {
		t.Errorf("in the end: %v", clean)
	}
}

// damage does to the pods what the table says, and to the cache what is about none of them.
func (c *cluster) damage(t *testing.T) {
	t.Helper()
	files, err := c.NetworkFiles(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range damages() {
		c.onNode(t, fmt.Sprintf("NS=%s; inside() { nsenter --net=$NS \"$@\"; }; %s", files[d.name], d.script))
	}
	c.onNode(t, `cd /var/lib/cni/results
f=$(ls -d $(grep -l '"healthy"' *) | grep eth0)
head -c 100 $f >pods-corrupt-eth0; touch -d '1 hour ago' pods-corrupt-eth0
sed "s/\"containerId\":\"[0-9a-f]*\"/\"containerId\":\"$(printf %064d 8)\"/; s/cni-[-0-9a-f]*/cni-gone/; s/\"healthy\"/\"gone\"/" $f >pods-$(printf %064d 8)-eth0`)
}

func (c *cluster) onNode(t *testing.T, script string) string {
	t.Helper()
	out, err := c.Run(t.Context(), "sh", "-ec", script)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// auditedPod is what the audit says of a pod.
type auditedPod struct {
	Namespace, Name, State, File string
	Forms                        []string
	Problems                     []struct{ Kind, Text string }
}

// audited audits by kubectl exec. The status says whether anything is wrong.
func (c *cluster) audited(t *testing.T, status int, args ...string) []auditedPod {
	t.Helper()
	words := append([]string{"exec", "-n", "meshtables", "daemonset/meshtables-audit", "--", "meshtables", "audit", "-O", "json"}, args...)
	out, err := c.Kubectl(t.Context(), words...)
	if (err == nil) != (status == 0) {
		t.Errorf("audit %q: %v\n%s", args, err, out)
	}
	text, _, _ := strings.Cut(out, "\ncommand terminated")
	var answer struct {
		Pods         []auditedPod
		Interceptors struct{ Unread []string }
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// The container sees the cgroups of all pods.
	for _, text := range answer.Interceptors.Unread {
		t.Errorf("audit %q: %s", args, text)
	}
	return answer.Pods
}

// audit returns the states of the pods by their names, and the files of those whose rules are in
// the way or double.
func (c *cluster) audit(t *testing.T, status int, args ...string) (states, files map[string]string) {
	t.Helper()
	states, files = make(map[string]string), make(map[string]string)
	for _, p := range c.audited(t, status, args...) {
		// The node's own DaemonSets use its network.
		states[p.Name] = p.State
		files[p.Name] = p.File
		for _, d := range damages() {
			if d.name == p.Name && d.problem != "" && p.State != "as-wanted" && (len(p.Problems) == 0 || p.Problems[0].Kind != d.problem) {
				t.Errorf("%s: %v, want %s", p.Name, p.Problems, d.problem)
			}
		}
		if p.State != "as-wanted" && p.State != "not-in-mesh" && p.Name != "" && !isDamaged(p.Name) {
			t.Errorf("%s is healthy, and accused: %s %v", p.Name, p.State, p.Problems)
		}
	}
	return states, files
}

func isDamaged(name string) bool {
	for _, d := range damages() {
		if d.name == name {
			return d.script != ""
		}
	}
	return false
}

func (c *cluster) compare(t *testing.T, when string, states map[string]string, want func(*damaged) string) {
	t.Helper()
	for _, d := range damages() {
		if states[d.name] != want(&d) {
			t.Errorf("%s: %s is %q, want %q", when, d.name, states[d.name], want(&d))
		}
	}
}

// wantMetrics waits until the DaemonSet's metrics say the state of a pod. They are what promtool
// takes.
func (c *cluster) wantMetrics(t *testing.T, name, state string) {
	t.Helper()
	const file = "/var/lib/node_exporter/textfile_collector/meshtables.prom"
	var text string
	eventually(t, func() error {
		text, _ = c.Run(t.Context(), "cat", file)
		for line := range strings.Lines(text) {
			if strings.Contains(line, `pod="`+name+`"`) && strings.Contains(line, `state="`+state+`"`) && strings.HasSuffix(line, " 1\n") {
				return nil
			}
		}
		return fmt.Errorf("no metric says that %s is %s:\n%s", name, state, text)
	})
	check := exec.Command("promtool", "check", "metrics")
	check.Stdin = strings.NewReader(text)
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

// mend does what an operator does about what repairing leaves alone.
func (c *cluster) mend(t *testing.T, files map[string]string) {
	t.Helper()
	c.onNode(t, "nsenter --net="+files["redirected"]+" iptables -t nat -D OUTPUT 1")
	c.onNode(t, "rm /var/lib/cni/results/pods-corrupt-eth0 /var/lib/cni/results/pods-$(printf %064d 7)-eth0")
	// The node has the iptables programs.
	if out, err := c.Run(t.Context(), "/opt/cni/bin/meshtables", "audit", "--pod=default/twice"); err == nil || !strings.Contains(out, "rules are in iptables-nft and iptables-legacy") {
		t.Errorf("on the node: %v\n%s", err, out)
	}
	if out, err := c.Run(t.Context(), "/opt/cni/bin/meshtables", "audit", "--pod=default/twice", "--repair"); err != nil {
		t.Errorf("on the node: %v\n%s", err, out)
	}
	// The image still cannot see that its legacy tables are empty.
	c.do(t, "delete", "pod", "twice")
}
