package compact_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/compact"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/internal/packettest"
	"github.com/meshtables/meshtables/iptables/internal/plantest"
	"github.com/meshtables/meshtables/tests/recorded"
	"github.com/meshtables/meshtables/tests/soak"
)

// Every packet at and around the constants of a plan fares in both compact forms
// as in the plan.
func TestPacketsFareAsPlanned(t *testing.T) {
	t.Run("recorded", func(t *testing.T) {
		for i, c := range recorded.Cases(t) {
			t.Run(c.Name, func(t *testing.T) {
				t.Parallel()
				faresAsPlanned(t, capture.Plan(c.Config(t), c.Host()).Rules, uint64(i), 2000)
			})
		}
	})
	t.Run("made up", func(t *testing.T) {
		for seed := range uint64(soak.Times(100, 1000)) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				faresAsPlanned(t, plantest.Random(seed), seed, 300)
			})
		}
	})
}

func faresAsPlanned(t *testing.T, plan iptables.Ruleset, seed uint64, packets int) {
	sets, multiport := compact.Sets(plan), compact.Multiport(plan)
	commentsMakeNoDifference(t, plan, sets, multiport)
	for _, rs := range []iptables.Ruleset{plan, sets, multiport} {
		if err := rs.Validate(); err != nil {
			t.Fatal(err)
		}
	}
	if again := compact.Multiport(multiport); !again.Equal(&multiport) {
		t.Error("the multiport form of the multiport form is another")
	}
	for _, f := range iptables.Families() {
		values := packettest.ValuesOf(f, &plan)
		random := rand.New(rand.NewPCG(20261120, seed))
		for range packets {
			p := values.Packet(random)
			want := walk(t, plan, p)
			for name, rs := range map[string]iptables.Ruleset{"sets": sets, "multiport": multiport} {
				if got := walk(t, rs, p); packettest.Fate(got) != packettest.Fate(want) {
					t.Fatalf("%+v (owner %+v)\nplanned: %s\n%s%s: %s\n%s\n%s", p, p.Owner,
						packettest.Fate(want), packettest.Path(want), name, packettest.Fate(got), packettest.Path(got), rs.Save(f))
				}
			}
		}
	}
}

// commentsMakeNoDifference compares the forms of a plan with those of the same plan
// with comments: of the one form they are dropped, of the other they are about what
// the grouped rules come from.
func commentsMakeNoDifference(t *testing.T, plan, sets, multiport iptables.Ruleset) {
	t.Helper()
	commented := plan.Commented()
	if got := compact.Sets(commented); !got.Equal(&sets) {
		t.Error("with comments the form with sets is another")
	}
	got, want := compact.Multiport(commented), multiport.Commented()
	if !got.Equal(&want) {
		t.Errorf("grouped with comments:\n%s\ngrouped, then with comments:\n%s", got.Save(iptables.IPv4), want.Save(iptables.IPv4))
	}
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
}

func walk(t *testing.T, rs iptables.Ruleset, p explain.Packet) explain.Result {
	t.Helper()
	r, err := explain.Walk(&rs, p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
