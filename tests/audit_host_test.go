package tests

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// TestAuditHost damages the node's side of ambient mode: the line about the node says how, the
// command that it hints at mends it, and the exit status is that of the answer. A node without
// such pods and without such rules has no such line.
func TestAuditHost(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	const podWithoutRules = "a pod without rules"
	plain := &nodePod{name: "shop/tools", number: 1, annotations: map[string]string{}}
	m.start(t, plain)
	look := func(args ...string) (r *auditedHost, status int) {
		t.Helper()
		stdout, stderr, status := m.audit(t, append(args, "-O", "json")...)
		var answer struct{ Host *auditedHost }
		if err := json.Unmarshal([]byte(stdout), &answer); err != nil || stderr != "" {
			t.Fatalf("%v\n%s%s", err, stdout, stderr)
		}
		return answer.Host, status
	}
	expect := func(when, state, kinds string) *auditedHost {
		t.Helper()
		r, status := look()
		want := 3
		if state == "" || state == "as-wanted" {
			want = 0
		}
		if when == podWithoutRules {
			// That the pod is so counts too.
			want = 3
		}
		if r == nil {
			r = &auditedHost{}
		}
		if r.State != state || r.kinds() != kinds || status != want {
			t.Errorf("%s: %s (%s), status %d, want %s (%s): %v", when, r.State, r.kinds(), status, state, kinds, r.Problems)
		}
		return r
	}
	// mend does what the hints say.
	mend := func(r *auditedHost) {
		t.Helper()
		for _, p := range r.Problems {
			if _, command, ok := strings.Cut(p.Hint, ": "); ok {
				m.sh(t, command)
			}
		}
	}
	expect("no pod of the mesh", "", "")
	a := &nodePod{name: "shop/web", number: 2, annotations: map[string]string{"ambient.istio.io/redirection": "enabled"}}
	m.start(t, a)
	m.sh(t, a.in("meshtables --dataplane-mode=ambient"))
	m.listen(t, a, 15001, 15006)
	mend(expect("nobody has applied it", "different", "no-rules"))
	expect("applied", "as-wanted", "")
	b := &nodePod{name: "shop/cart", number: 3, annotations: map[string]string{"ambient.istio.io/redirection": "enabled"}}
	m.start(t, b)
	expect(podWithoutRules, "as-wanted", "")
	m.sh(t, b.in("meshtables --dataplane-mode=ambient"))
	m.listen(t, b, 15001, 15006)
	mend(expect("a pod more", "different", "probe-set"))
	for _, damage := range []struct{ script, kinds string }{
		{"nft flush ruleset", "no-rules"},
		{"nft flush ruleset; ipset destroy", "no-rules"},
		{"iptables -t nat -F ISTIO_POSTRT", "drift"},
		{"ipset flush", "probe-set"},
		{"iptables -t nat -I POSTROUTING -j MASQUERADE", "foreign-rules"},
		{"iptables-save -t nat | iptables-legacy-restore", "two-forms"},
		{"ip route add 198.51.100.7 dev lo scope link proto 109", "routing"},
	} {
		m.sh(t, damage.script)
		r := expect(damage.script, "different", damage.kinds)
		stdout, _, _ := m.audit(t, "--verbose")
		if !strings.HasPrefix(stdout, "node ") || !strings.Contains(stdout, r.Problems[0].Text) {
			t.Errorf("%s: the text is %s", damage.script, stdout)
		}
		metrics, _, _ := m.audit(t, "-O", "openmetrics")
		for _, want := range []string{`meshtables_host_state{mesh="istio",dataplane="host",state="different"} 1`, `meshtables_host_problem{problem="` + damage.kinds + `"} 1`} {
			if !strings.Contains(metrics, want+"\n") {
				t.Errorf("%s: the metrics have no %s", damage.script, want)
			}
		}
		mend(r)
		expect("after "+damage.script+" and mending", "as-wanted", "")
	}
	if r, _ := look("--pod=shop/web"); r != nil {
		t.Errorf("about one pod it says of the node %+v", r)
	}
	// Rules of the node's side alone are enough for a line, the wrong ones too.
	m.sh(t, a.in("meshtables --cleanup-only")+b.in("meshtables --cleanup-only"))
	if r, _ := look(); r == nil || r.State != "as-wanted" {
		t.Errorf("without pods: %+v", r)
	}
	m.sh(t, "meshtables host --cleanup-only")
	if r, _ := look(); r != nil {
		t.Errorf("without pods and rules: %+v", r)
	}
}

type auditedHost struct {
	State    string
	Problems []struct{ Kind, Text, Hint string }
}

func (r *auditedHost) kinds() string {
	var kinds []string
	for _, p := range r.Problems {
		kinds = append(kinds, p.Kind)
	}
	return strings.Join(slices.Compact(kinds), " ")
}

// A table of others that gives probes their address, as Istio's agent has one, is enough.
func TestAuditHostOfAgent(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	p := &nodePod{name: "shop/web", number: 1, annotations: map[string]string{"ambient.istio.io/redirection": "enabled"}}
	m.start(t, p)
	m.sh(t, p.in("meshtables --dataplane-mode=ambient --ipv6=off"))
	m.listen(t, p, 15001, 15006)
	m.sh(t, "nft 'table inet istio-ambient-nat { set pods { type ipv4_addr; }; chain postrouting { type nat hook postrouting priority 100; meta l4proto tcp meta skuid 0 ip daddr @pods snat ip to 169.254.7.127; }; }'")
	if stdout, stderr, status := m.audit(t); status != 0 || strings.Contains(stdout, "host") {
		t.Errorf("status %d\n%s%s", status, stdout, stderr)
	}
}
