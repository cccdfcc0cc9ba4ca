package sidecar_test

import (
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/form"
)

// While there are two sets of rules, marks are saved of what comes by loopback only, and
// all else stays as it is.
func TestDoubled(t *testing.T) {
	plan := planArgs(t, nil, "--mode=TPROXY").Rules
	rules := form.IPTables(plan)
	doubled := plan.Doubled(rules)
	const saved = "-A ISTIO_PREROUTING -p tcp -m mark --mark 0x539 -j CONNMARK --save-mark"
	before, after := rules.Save(iptables.IPv4), doubled.Save(iptables.IPv4)
	if !strings.Contains(before, saved) {
		t.Fatalf("nothing saves marks:\n%s", before)
	}
	if want := strings.Replace(before, saved, strings.Replace(saved, " -p", " -i lo -p", 1), 1); after != want {
		t.Errorf("got\n%s\nwant\n%s", after, want)
	}
}
