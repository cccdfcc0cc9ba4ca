package explain_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/iptables/internal/packettest"
	"github.com/meshtables/meshtables/tests/recorded"
	"github.com/meshtables/meshtables/tests/soak"
)

// TestPacketsFareAsWithTheReference sends packets at and around every constant
// of both rulesets through what the reference wrote and through what is planned
// from the same arguments.
func TestPacketsFareAsWithTheReference(t *testing.T) {
	for i, c := range recorded.Cases(t) {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			fareAlike(t, c.Ruleset(t), c.Config(t).Plan(c.Host()).Rules, uint64(i))
		})
	}
	for i, c := range recorded.LinkerdCases(t) {
		t.Run("linkerd "+c.Name, func(t *testing.T) {
			t.Parallel()
			fareAlike(t, c.Commented(t), c.Config(t).Plan(c.Host()).Rules, uint64(i))
		})
	}
}

func fareAlike(t *testing.T, want iptables.Ruleset, plan iptables.Plan, seed uint64) {
	t.Helper()
	// Enough for each pair of constants in a typical ruleset to meet, or to do so
	// several times.
	packets := soak.Times(1500, 6000)
	planned := form.IPTables(plan)
	seen := make(map[explain.Verdict]int)
	for _, f := range iptables.Families() {
		values := packettest.ValuesOf(f, &want, &planned)
		random := rand.New(rand.NewPCG(20261120, seed))
		for range packets {
			packet := values.Packet(random)
			seen[compare(t, &want, &planned, packet)]++
		}
	}
	// Packets that all fare alike would compare nothing.
	if len(seen) < 2 {
		t.Errorf("all packets are %v", seen)
	}
}

func compare(t *testing.T, want, planned *iptables.Ruleset, p iptables.Packet) explain.Verdict {
	t.Helper()
	a, b := explain.Walk(want, p), explain.Walk(planned, p)
	if packettest.Fate(a) != packettest.Fate(b) && !isLeftAlone(a, b, planned, p) {
		t.Fatalf("%+v (owner %+v)\nrecorded: %s\n%s\nplanned: %s\n%s", p, p.Owner, packettest.Fate(a), packettest.Path(a), packettest.Fate(b), packettest.Path(b))
	}
	return a.Verdict
}

// isLeftAlone reports whether a packet differs from the recorded run in the one way
// that is meant: in REDIRECT mode the reference drops invalid packets on excluded
// interfaces too, which in TPROXY mode it leaves alone. Here it leaves
// them alone in both.
func isLeftAlone(recorded, planned explain.Result, rules *iptables.Ruleset, p iptables.Packet) bool {
	if recorded.Verdict != explain.Dropped || planned.Verdict == explain.Dropped || p.State != iptables.StateInvalid {
		return false
	}
	drop := rules.Table(p.Family(), iptables.Mangle).Chain("ISTIO_DROP")
	return slices.ContainsFunc(drop.Rules, func(r iptables.Rule) bool {
		return r.Target == iptables.Return && r.In.Name == p.In
	})
}
