package tests

import (
	"bytes"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// operatingPage is the document whose commands are about all pods of a machine. They run on a
// machine of its own, which has the pods that it shows.
const operatingPage = "../docs/operating.md"

// runOnMachine runs a shell's script on that machine.
func runOnMachine(t *testing.T, file string, env []string, output io.Writer) error {
	t.Helper()
	m := newMachine(t)
	for i, row := range []auditedPod{
		{name: "shop/web-6f77", annotations: injected(), script: "meshtables"},
		{name: "shop/cart-7d9f", annotations: injected()},
		{name: "shop/orders-5c44", annotations: injected(),
			script: "meshtables; iptables -t nat -D ISTIO_INBOUND 1; iptables -t nat -A ISTIO_INBOUND -p tcp --dport 15008 -j RETURN"},
		{name: "shop/payment-9b1e", annotations: injected(), script: "meshtables; iptables -t nat -I OUTPUT -p tcp -j REDIRECT --to-ports 9"},
		{name: "shop/tools", annotations: map[string]string{}},
	} {
		p := &nodePod{name: row.name, number: i + 1, annotations: row.annotations}
		m.start(t, p)
		m.sh(t, p.in("sleep 3600 >/dev/null 2>&1 &"))
		if row.script != "" {
			m.sh(t, p.in(row.script))
		}
		m.listen(t, p, 15001, 15006)
	}
	// The commands name neither folder, so they are where they are on a node.
	m.sh(t, "mkdir /run/cache; mount --bind "+m.cache+" /run/cache; mount -t tmpfs tmpfs /var/lib; mkdir /var/lib/cni; mount --bind /run/cache /var/lib/cni")
	cmd := m.command(t.Context(), "sh", file)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, output, output
	return cmd.Run()
}

// Prometheus' tools accept the metrics of pods of all kinds, and the rules and expressions that
// come with the manifests; the rules fire when they should.
func TestMonitoring(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("promtool"); err != nil {
		missing(t, err.Error())
	}
	a := newAuditMachine(t)
	metrics, stderr, status := a.audit(t, "-O", "openmetrics")
	if status != 3 || stderr != "" {
		t.Errorf("exit status %d: %s", status, stderr)
	}
	promtool(t, metrics, "check", "metrics")
	promtool(t, "", "check", "rules", "../deploy/audit/rules.yaml")
	promtool(t, "", "test", "rules", "../deploy/audit/rules_test.yaml")
	var expressions strings.Builder
	expressions.WriteString("groups:\n- name: dashboard\n  rules:\n")
	for _, e := range dashboardExpressions(t) {
		expressions.WriteString("  - {record: x, expr: '" + strings.NewReplacer("$namespace", ".*", "$__rate_interval", "5m").Replace(e) + "'}\n")
	}
	promtool(t, "", "check", "rules", "--lint=none", writeFile(t, "dashboard.yaml", expressions.String()))
	for _, e := range append(dashboardExpressions(t), readDocument(t, "../deploy/audit/rules.yaml")) {
		for _, name := range metricName.FindAllString(e, -1) {
			if !strings.Contains(metrics, "# TYPE "+name+" ") {
				t.Errorf("there is no metric %s", name)
			}
		}
	}
	for _, m := range metricType.FindAllStringSubmatch(metrics, -1) {
		if !strings.Contains(readDocument(t, operatingPage), "\n| `"+m[1]+"` | "+m[2]+" | ") {
			t.Errorf("%s has no row about the %s %s", operatingPage, m[2], m[1])
		}
	}
}

func promtool(t *testing.T, stdin string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "promtool", args...)
	cmd.Stdin = strings.NewReader(stdin)
	// It has findings that do not change its exit status.
	out, err := cmd.CombinedOutput()
	if err != nil || args[1] == "metrics" && len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("promtool %q: %v\n%s", args, err, out)
	}
}
