package tests

import (
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/tests/built"
)

// audited is the answer of audit, as far as the tests look at it.
type audited struct {
	Pods []auditedReport
}

type auditedReport struct {
	Namespace, Name, State, File string
	Problems                     []struct{ Kind, Text, Hint string }
	Repair                       *struct{ Result, Text string }
	Exempt                       *struct {
		Processes []struct {
			Command     string
			User, Group uint32
		}
		More int
	}
}

func (r *auditedReport) kinds() string {
	var kinds []string
	for _, p := range r.Problems {
		kinds = append(kinds, p.Kind)
	}
	return strings.Join(slices.Compact(kinds), " ")
}

// auditJSON returns what audit says, by the file of each pod's namespace.
func (m *machine) auditJSON(t testing.TB, args ...string) (map[string]*auditedReport, int) {
	t.Helper()
	stdout, stderr, status := m.audit(t, append(args, "-O", "json")...)
	var answer audited
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil || stderr != "" {
		t.Fatalf("%v\n%s%s", err, stdout, stderr)
	}
	all := make(map[string]*auditedReport)
	for i := range answer.Pods {
		all[answer.Pods[i].File] = &answer.Pods[i]
	}
	return all, status
}

// Each pod is told rightly: what is wrong with it, and that nothing is. Repairing makes those
// right that are in the mesh and whose rules are ours to write, and no others. What is left then
// is made right by what the hints say, except what nobody can tell.
func TestAudit(t *testing.T) {
	t.Parallel()
	a := newAuditMachine(t)
	before := a.snapshot(t)
	first := a.check(t, "first", func(row *auditedPod) string { return row.state })
	for i, row := range a.rows {
		if r := first[a.pods[i].file()]; r != nil && r.kinds() != row.kinds {
			t.Errorf("%s: %s, want %s: %v", row.name, r.kinds(), row.kinds, r.Problems)
		}
	}
	a.check(t, "what repairing would do", func(row *auditedPod) string { return row.state }, "--repair", "--dry-run")
	if diff := gocmp.Diff(before, a.snapshot(t)); diff != "" {
		t.Errorf("looking has changed something: before (-), after (+):\n%s", diff)
	}
	afterwards := func(row *auditedPod) string { return cmp.Or(row.after, row.state) }
	a.check(t, "repairing", afterwards, "--repair")
	for i, now := range a.snapshot(t) {
		if row := &a.rows[i]; row.after == "" && now != before[i] {
			t.Errorf("%s: repairing has changed it: from\n%s\nto\n%s", row.name, before[i], now)
		}
	}
	second := a.check(t, "second", afterwards)
	for _, r := range second {
		for _, p := range r.Problems {
			if command, ok := strings.CutPrefix(p.Hint, "to take it away: "); ok {
				a.sh(t, command)
			} else if command, ok := strings.CutPrefix(p.Hint, "to remove them: "); ok {
				a.sh(t, command)
			}
		}
	}
	a.check(t, "what the hints say", func(row *auditedPod) string { return cmp.Or(row.mended, row.after, row.state) })
}

// snapshot returns the rules and the routing of every pod.
func (a *auditMachine) snapshot(t *testing.T) []string {
	t.Helper()
	all := make([]string, len(a.pods))
	for i, p := range a.pods {
		if a.rows[i].before == "" {
			all[i] = countersOfRules.ReplaceAllString(a.sh(t, p.in("nft -a list ruleset 2>/dev/null; iptables-legacy-save; ip rule; ip -6 rule; ip route show table 133 2>/dev/null || true; ip -6 address show lo")), "")
		}
	}
	return all
}

// countersOfRules are what changes by itself.
var countersOfRules = regexp.MustCompile(`counter packets \d+ bytes \d+|\[\d+:\d+\]|# (Generated|Completed) .*|expires \d+sec`)

// checkJSONOfAudit compares the answers about pods of all kinds with the document.
func checkJSONOfAudit(t *testing.T, s *schema) {
	checkJSONOfNode(t, s)
	a := newAuditMachine(t)
	for _, args := range [][]string{
		{"--repair", "--dry-run"}, {"--verbose"}, {"--pod=a/plain"}, {"--pod=b/plain"}, {"--repair"},
	} {
		stdout, stderr, _ := a.audit(t, append(args, "-O", "json")...)
		if err := s.checkAnswer("audit", []byte(stdout)); err != nil {
			t.Errorf("%q: %v\n%s%s", args, err, stdout, stderr)
		}
	}
	a.configure(t, `{"type": "meshtables"}`)
	if stdout, stderr, _ := a.audit(t, "--pod=a/plain", "-O", "json"); s.checkAnswer("audit", []byte(stdout)) != nil {
		t.Errorf("%s%s", stdout, stderr)
	}
}

// checkJSONOfNode does so for the line about the node, in all its states.
func checkJSONOfNode(t *testing.T, s *schema) {
	m := newMachine(t)
	p := &nodePod{name: "shop/web", number: 1, annotations: map[string]string{"ambient.istio.io/redirection": "enabled"}}
	m.start(t, p)
	m.sh(t, p.in("meshtables --dataplane-mode=ambient"))
	for _, script := range []string{
		"true", "meshtables host --ipv6=off", "meshtables host --add-pods=10.244.0.1", "iptables -t nat -F POSTROUTING", "iptables-save -t nat | iptables-legacy-restore",
		"meshtables host --backend=nftables", "meshtables host --backend=iptables-legacy", "nft flush ruleset; iptables-legacy -t nat -F",
		"meshtables host --backend=iptables-legacy",
	} {
		m.sh(t, script)
		stdout, stderr, _ := m.audit(t, "--verbose", "-O", "json")
		if err := s.checkAnswer("audit", []byte(stdout)); err != nil {
			t.Errorf("%s: %v\n%s%s", script, err, stdout, stderr)
		}
	}
	// Without the programs nobody can read legacy tables.
	m.sh(t, "meshtables host --backend=iptables-nft; iptables-legacy -t nat -A OUTPUT -j ACCEPT")
	stdout, stderr, _ := m.run(t, "env", "PATH=/nowhere", built.Program(), "audit", "-O", "json")
	if err := s.checkAnswer("audit", []byte(stdout)); err != nil {
		t.Errorf("%v\n%s%s", err, stdout, stderr)
	}
}

// check audits, and compares the states of all pods.
func (a *auditMachine) check(t *testing.T, when string, want func(*auditedPod) string, args ...string) map[string]*auditedReport {
	t.Helper()
	reports, status := a.auditJSON(t, args...)
	if status != 3 {
		t.Errorf("%s: exit status %d", when, status)
	}
	for i := range a.rows {
		row, p := &a.rows[i], a.pods[i]
		r := reports[p.file()]
		if r == nil {
			t.Errorf("%s: %s: audit says nothing", when, row.name)
			continue
		}
		name := r.Namespace + "/" + r.Name
		if row.uncached {
			name = strings.TrimPrefix(name, "/") + row.name
		}
		if r.State != want(row) || name != row.name {
			t.Errorf("%s: %s: %s is %s, want %s: %v %v", when, row.name, name, r.State, want(row), r.Problems, r.Repair)
		}
	}
	if extra := len(reports) - len(a.rows); extra != 2 {
		t.Errorf("%s: there are %d reports beside those of pods, want those of the corrupt entry and of the link", when, extra)
	}
	return reports
}
