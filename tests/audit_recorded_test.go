package tests

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/tests/recorded"
)

// writtenOtherwise are the recorded pods for which Istio's plugin writes other rules than this
// program: docs/differences.md says why.
var writtenOtherwise = []string{"status-port", "virtual", "virtual-old", "virtual-both", "interfaces", "tproxy"}

// Pods whose rules Istio's own plugin wrote are as wanted too: the options that annotations leave
// open are those of the rules.
func TestAuditOfReference(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	pods := make(map[string]string)
	for i, c := range recorded.PluginCases(t) {
		rules := strings.Join(append(c.IPv4, c.IPv6...), "\n")
		if c.ExitStatus != 0 || !strings.Contains(rules, "ISTIO_") {
			continue
		}
		p := &nodePod{name: "recorded/" + c.Name, number: i + 1, annotations: c.Annotations, only: c.Addresses}
		m.start(t, p)
		m.listen(t, p, 15001, 15006, 15053)
		v4, v6 := writeFile(t, "v4", strings.Join(c.IPv4, "\n")+"\n"), writeFile(t, "v6", strings.Join(c.IPv6, "\n")+"\n")
		script := fmt.Sprintf("iptables-restore <%s; ip6tables-restore <%s", v4, v6)
		if strings.Contains(strings.Join(c.IPv6, ""), "ISTIO_") {
			// The plugin adds it with the rules.
			script += "; ip -6 address add ::6/128 dev lo"
		}
		m.sh(t, p.in(script))
		pods[p.file()] = c.Name
	}
	reports, _ := m.auditJSON(t)
	for file, name := range pods {
		want := "as-wanted"
		if slices.Contains(writtenOtherwise, name) {
			want = "different"
		}
		if r := reports[file]; r == nil || r.State != want {
			t.Errorf("%s: %v, want %s", name, r, want)
		}
	}
}
