package tests

import (
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/tests/lab"
)

// TestExplainBehindForeignRules puts rules of others into the tables of iptables, and
// sees that explain --live, the kernel's trace and real connections tell the same. In
// iptables' form they are in the tables of ours, and what accepts a packet there ends
// its way; with the native form they are in tables that packets meet before.
func TestExplainBehindForeignRules(t *testing.T) {
	t.Parallel()
	for _, backend := range overNetlink() {
		for _, f := range lab.Families() {
			t.Run(backend+" "+string(f), func(t *testing.T) {
				t.Parallel()
				w := newWitness(t, backend)
				for _, test := range behindForeignRules() {
					w.behind(t, test, f)
				}
			})
		}
	}
}

// foreignRules are arguments of iptables, a line each, and what becomes of a connection
// to port 80 then.
type foreignRules struct {
	name, rules string
	in          bool // to the pod, or out of it
	want        explained
	// inNative is what becomes of it with the native form, where that differs.
	inNative *explained
}

func behindForeignRules() []foreignRules {
	outbound, inbound := explained{explain.Redirected, outboundPort}, explained{explain.Redirected, inboundPort}
	elsewhere, bypassed, dropped := explained{explain.Taken, 9}, explained{explain.Bypassed, 0}, explained{explain.Dropped, 0}
	return []foreignRules{
		{"redirects", "-t nat -I OUTPUT -p tcp -j REDIRECT --to-ports 9", false, elsewhere, nil},
		{"redirects inbound", "-t nat -I PREROUTING -p tcp -j REDIRECT --to-ports 9", true, elsewhere, nil},
		{"redirects in a chain", "-t nat -N OTHER\n-t nat -A OTHER -p tcp --dport 80 -j REDIRECT --to-ports 9\n" +
			"-t nat -I OUTPUT -j OTHER", false, elsewhere, nil},
		{"accepts in nat", "-t nat -I OUTPUT -p tcp -j ACCEPT", false, bypassed, &outbound},
		{"accepts inbound in nat", "-t nat -I PREROUTING -p tcp -j ACCEPT", true, bypassed, &inbound},
		{"accepts before it redirects", "-t nat -I OUTPUT -p tcp -j REDIRECT --to-ports 9\n" +
			"-t nat -I OUTPUT -p tcp --dport 80 -j ACCEPT", false, bypassed, &outbound},
		{"accepts in mangle", "-t mangle -I OUTPUT -p tcp -j ACCEPT", false, outbound, nil},
		{"drops in mangle", "-t mangle -I OUTPUT -p tcp -j DROP", false, dropped, nil},
		{"drops inbound in raw", "-t raw -I PREROUTING -p tcp --dport 80 -j DROP", true, dropped, nil},
		{"drops by policy", "-t mangle -P OUTPUT DROP", false, dropped, nil},
		{"marks", "-t mangle -I OUTPUT -j MARK --set-mark 7\n-t nat -I OUTPUT -p tcp -m mark ! --mark 7 -j REDIRECT --to-ports 9",
			false, outbound, nil},
		// Raw comes before connections are tracked.
		{"drops what has no connection in raw", "-t raw -I OUTPUT -p tcp -m conntrack --ctstate INVALID -j DROP", false, dropped, nil},
		{"lets new ones go in raw", "-t raw -I OUTPUT -p tcp -m conntrack --ctstate NEW -j DROP", false, outbound, nil},
		{"asks raw for a connection's mark", "-t raw -I OUTPUT -p tcp -m connmark ! --mark 5 -j DROP", false, outbound, nil},
		{"asks raw for no connection's mark", "-t raw -I PREROUTING -p tcp -m connmark --mark 0 -j DROP", true, inbound, nil},
		{"restores a mark in raw", "-t raw -I OUTPUT -p tcp -j CONNMARK --restore-mark\n" +
			"-t mangle -I OUTPUT -p tcp -m mark ! --mark 0 -j DROP", false, outbound, nil},
	}
}

// behind sees what becomes of a connection behind foreign rules, and removes them.
func (w *witness) behind(t *testing.T, test foreignRules, f lab.Family) {
	t.Helper()
	apply(t, w.pod)
	defer cleanup(t, w.pod)
	to := lab.Outside
	if test.in {
		to = lab.PodAddr
	}
	command := commandOf(w.backend, iptables.FamilyOf(to.In(f)))
	for rule := range strings.Lines(test.rules) {
		program(t, w.pod, "", command, strings.Fields(rule)...)
	}
	defer func() {
		for _, table := range []string{"raw", "mangle", "nat"} {
			program(t, w.pod, "", command, "-t", table, "-F")
			program(t, w.pod, "", command, "-t", table, "-X")
		}
		program(t, w.pod, "", command, "-t", "mangle", "-P", "OUTPUT", "ACCEPT")
	}()
	a := attempt{client: "pod", as: lab.Identity{UID: 5000, GID: 5000}, to: to.Port(f, 80)}
	if test.in {
		a = attempt{in: true, client: "peer", to: to.Port(f, 80)}
	}
	want := test.want
	if test.inNative != nil && w.backend == native {
		want = *test.inNative
	}
	told, err := w.compare(t, a, []string{"--live"})
	if err != nil {
		t.Errorf("%s, %s: %v", test.name, f, err)
	}
	if told != want {
		t.Errorf("%s, %s: explained as %v, want %v", test.name, f, told, want)
	}
	if err := w.trace(t, a); err != nil {
		t.Errorf("%s, %s: explain --trace: %v", test.name, f, err)
	}
}
