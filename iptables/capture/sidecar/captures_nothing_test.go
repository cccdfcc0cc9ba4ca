package sidecar_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/internal/packettest"
	"github.com/meshtables/meshtables/tests/recorded"
)

// Where config warns that nothing is captured, no connection is, except for those of the
// proxy. With a little less some are.
func TestCapturesNothing(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args    string
		inbound bool
		some    bool
	}{
		{args: "--excluded-cidrs=0.0.0.0/0"},
		{args: "--excluded-cidrs=0.0.0.0/1,128.0.0.0/1 --included-outbound-ports=80"},
		{args: "--included-cidrs=10.0.0.0/8,192.168.0.0/16 --excluded-cidrs=10.0.0.0/7,192.168.0.0/16"},
		{args: "--excluded-outbound-ports=1-65535 --redirect-dns --capture-all-dns"},
		{args: "--excluded-uids=tcp:0-999,1000-4294967294"},
		{args: "--excluded-source-cidrs=0.0.0.0/0", inbound: true},
		{args: "--excluded-source-cidrs=0.0.0.0/0 --included-ports=80", inbound: true},
		{args: "--excluded-ports=1-65535", inbound: true},

		{args: "--excluded-cidrs=0.0.0.0/1", some: true},
		{args: "--included-cidrs=10.0.0.0/8,192.168.0.0/16 --excluded-cidrs=10.0.0.0/8", some: true},
		{args: "--excluded-outbound-ports=1-52,54-65535 --redirect-dns --capture-all-dns", some: true},
		{args: "--excluded-uids=1-4294967294", some: true},
		{args: "--excluded-source-cidrs=0.0.0.0/1", inbound: true, some: true},
		{args: "--excluded-ports=2-65535", inbound: true, some: true},
	} {
		for _, mode := range []string{"REDIRECT", "TPROXY"} {
			t.Run(test.args+"/"+mode, func(t *testing.T) {
				t.Parallel()
				args := append(strings.Fields(test.args), "--ipv6=off", "--mode="+mode)
				rules := form.IPTables(recorded.Parse(t, nil, args...).Plan(host.Host{}).Rules)
				values := packettest.ValuesOf(iptables.IPv4, &rules)
				random := rand.New(rand.NewPCG(20261201, 3))
				captured := ""
				for range 6000 {
					p := values.Packet(random)
					if isNewConnection(p, test.inbound) && isCaptured(t, &rules, p) {
						captured = p.Destination.String()
					}
				}
				if (captured != "") != test.some {
					t.Errorf("captured, to %q: want some: %t", captured, test.some)
				}
			})
		}
	}
}

// isNewConnection reports whether a packet begins a connection of an application, or one
// that comes in from another machine.
func isNewConnection(p iptables.Packet, inbound bool) bool {
	if p.State != iptables.StateNew || p.DestinationPort == 0 || p.Mark != 0 || p.ConnMark != 0 {
		return false
	}
	if inbound {
		return p.Hook == iptables.Prerouting && p.In != "lo"
	}
	// The largest number is nobody's.
	return p.Owner != nil && p.Owner.UID != 1337 && p.Owner.GID != 1337 && p.Owner.UID != math.MaxUint32
}

func isCaptured(t *testing.T, rules *iptables.Ruleset, p iptables.Packet) bool {
	t.Helper()
	return explain.Walk(rules, p).Verdict.IsCaptured()
}
