package nftables

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
)

// A transaction is told if it touches our chains, those that they are called from, or the tables
// of these. Others are not, whatever comes after them.
func TestListen(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	ns := nstest.Here(t)
	run := func(script string) {
		t.Helper()
		if out, err := exec.Command("sh", "-ec", script).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
	}
	run("iptables-nft -t nat -N OURS_A; iptables-nft -t nat -A POSTROUTING -j OURS_A; nft 'add table inet meshtables; add set inet meshtables pods { type ipv4_addr; }'")
	l, err := Listen(ns, iptables.Ownership{Chains: []string{"OURS_"}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, test := range []struct{ script, by string }{
		{"iptables-nft -t nat -N KUBE-A; iptables-nft -t nat -A KUBE-A -p tcp -j ACCEPT; iptables-nft -t nat -F KUBE-A", ""},
		{"iptables-nft -A INPUT -p tcp -j ACCEPT; iptables-nft -F", ""},
		{"nft 'add table inet fw; add chain inet fw POSTROUTING { type nat hook postrouting priority 99; }; add rule inet fw POSTROUTING accept'; nft delete table inet fw", ""},
		{"nft 'add set ip nat others { type ipv4_addr; }; add element ip nat others { 10.0.0.1 }'", ""},
		{"iptables-nft -t nat -A OURS_A -p tcp -j ACCEPT", "iptables-nft"},
		{"iptables-nft -t nat -I POSTROUTING -p udp -j ACCEPT", "iptables-nft"},
		{"nft 'chain ip nat POSTROUTING { policy drop; }'", "nft"},
		{"nft add element inet meshtables pods { 10.0.0.1 }", "nft"},
		{"nft add table ip6 mangle", "nft"},
		{"nft delete table ip nat", "nft"},
		{"nft flush ruleset", "nft"},
	} {
		run(test.script)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		change, err := l.Next(ctx)
		cancel()
		switch {
		case test.by == "" && !errors.Is(err, context.DeadlineExceeded):
			t.Errorf("%s: got %+v, %v", test.script, change, err)
		case test.by != "" && (err != nil || change.Overrun || !strings.HasPrefix(change.By, test.by+" (process ")):
			t.Errorf("%s: got %+v, %v", test.script, change, err)
		}
	}
	if len(l.ready) > 0 {
		t.Errorf("%+v too", l.ready)
	}
}
