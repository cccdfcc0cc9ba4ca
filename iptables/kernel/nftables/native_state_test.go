package nftables

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"github.com/meshtables/meshtables/iptables/internal/plantest"
)

func take(t testing.TB, b *Backend, want iptables.Ruleset) {
	t.Helper()
	if err := b.Take(t.Context(), installed.Backend{}, want); err != nil {
		t.Fatal(err)
	}
}

// Either form takes over from the other in one transaction, and leaves what is
// foreign as it was.
func TestFormsTakeOver(t *testing.T) {
	nstest.Enter(t)
	for _, family := range iptables.Families() {
		restore(t, family, strings.ReplaceAll(foreignRules, "PING", ping(family)), "-c")
	}
	nstest.Run(t, "nft", "add table inet other; add chain inet other c { type filter hook output priority 0; }")
	before, handles := nstest.Run(t, "nft", "list", "ruleset"), foreignHandles(t)
	random := rand.New(rand.NewPCG(1, 3))
	for range 60 {
		plan := plantest.Random(random.Uint64N(1000))
		b, other := New(nstest.Here(t), owned), NewNative(nstest.Here(t), owned)
		if random.IntN(2) == 0 {
			b, other = other, b
		}
		want := b.Form(plan)
		before := generation(t)
		take(t, b, want)
		if after := generation(t); after > before+1 {
			t.Errorf("%d transactions", after-before)
		}
		for _, holds := range []struct {
			*Backend
			want iptables.Ruleset
		}{{b, want}, {other, iptables.Ruleset{}}} {
			have, err := holds.Load(t.Context())
			if own, want := owned.Of(have.Rules), owned.Of(holds.want); err != nil || !own.Equal(&want) {
				t.Fatalf("%s (-want +got) %v:\n%s", holds.Name(), err, cmp.Diff(text(want), text(own)))
			}
		}
		if d := cmp.Diff(handles, foreignHandles(t)); d != "" {
			t.Errorf("foreign rules changed:\n%s", d)
		}
	}
	take(t, NewNative(nstest.Here(t), owned), iptables.Ruleset{})
	if d := cmp.Diff(before, nstest.Run(t, "nft", "list", "ruleset")); d != "" {
		t.Errorf("after the removal:\n%s", d)
	}
}

// Whatever somebody does to our table, the next run notices and mends it, also if it
// first writes again what it found, as a run does whose change is taken back.
func TestNativeTampering(t *testing.T) {
	want := NewNative(nil, owned).Form(planOf(t, "sidecar-default-dual-stack"))
	for name, script := range map[string]string{
		"a rule of another":       "insert rule inet meshtables ISTIO_OUTPUT tcp dport 22 counter return",
		"a rule without counter":  "add rule inet meshtables ISTIO_OUTPUT tcp dport 22 return",
		"a counter is gone":       "flush chain inet meshtables ISTIO_IN_REDIRECT; add rule inet meshtables ISTIO_IN_REDIRECT meta l4proto tcp redirect to :15006 comment \"--inbound-port=15006\"",
		"a rule that only counts": "add rule inet meshtables ISTIO_OUTPUT tcp dport 80 counter; add rule inet meshtables PREROUTING counter",
		"a rule nobody knows":     "add rule inet meshtables ISTIO_INBOUND limit rate 5/second counter drop",
		"a set replaced":          "flush chain inet meshtables ISTIO_INBOUND; add rule inet meshtables ISTIO_INBOUND tcp dport { 15020, 15021, 15091 } counter return",
		"a jump is gone":          "flush chain inet meshtables OUTPUT",
		"a chain of another":      "add chain inet meshtables other; add rule inet meshtables ISTIO_OUTPUT jump other; add rule inet meshtables ISTIO_OUTPUT counter jump other",
		"a base chain of another": "add chain inet meshtables other { type filter hook input priority 0; policy drop; }",
		"a set with a name":       "add set inet meshtables s { type ipv4_addr; }; add rule inet meshtables ISTIO_OUTPUT ip daddr @s drop",
		"a chain of ours more":    "add chain inet meshtables ISTIO_OLD; add rule inet meshtables ISTIO_OLD drop",
		"dormant":                 "add table inet meshtables { flags dormant; }",
		"a policy":                "add chain inet meshtables OUTPUT { policy drop; }",
		"a verdict map":           "add rule inet meshtables ISTIO_OUTPUT tcp dport vmap { 1: drop, 2: jump ISTIO_REDIRECT }",
		"another attachment":      "delete table inet meshtables; add table inet meshtables; add chain inet meshtables OUTPUT { type filter hook output priority 7; }",
		"a rule in a base chain":  "insert rule inet meshtables OUTPUT tcp dport 22 counter accept",
		"a tproxy without a drop": "add rule inet meshtables ISTIO_INBOUND meta l4proto tcp counter tproxy to :9 meta mark set 9 accept",
		"a jump from another":     "add chain inet meshtables other; add rule inet meshtables other counter jump ISTIO_OUTPUT",
		"an object":               "add counter inet meshtables c; add rule inet meshtables ISTIO_OUTPUT counter name c",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nstest.Enter(t)
			nativeReplace(t, want)
			before := nativeLines(t)
			nstest.Run(t, "nft", script)
			found := nativeFound(t)
			rs := found.Rules
			if found.Has(&want) || !found.HasOwn() {
				t.Errorf("not noticed:\n%s", text(rs))
			}
			nativeReplace(t, owned.Of(rs))
			nativeReplace(t, iptables.Ruleset{})
			nativeReplace(t, owned.Of(rs))
			if again := nativeFound(t); len(again.Faults) > 0 {
				t.Errorf("what is foreign was written again: %v", again.Faults)
			}
			nativeReplace(t, want)
			if mended := nativeLoad(t); !ownEqual(mended, want) {
				t.Errorf("not mended (-want +got):\n%s", cmp.Diff(text(want), text(mended)))
			}
			if d := cmp.Diff(before, nativeLines(t)); d != "" {
				t.Errorf("not mended (-before +after):\n%s", d)
			}
			nstest.Run(t, "nft", script)
			nativeNothing(t)
		})
	}
}

// nativeLines returns what nft lists of our table. It is sorted, for a chain that has
// been made anew is the last.
func nativeLines(t testing.TB) []string {
	t.Helper()
	return slices.Sorted(strings.Lines(nstest.Run(t, "nft", "list", "table", "inet", "meshtables")))
}

// Copies that start at the same moment all succeed and leave one set of rules, in
// one form.
func TestFormsConcurrently(t *testing.T) {
	nstest.Enter(t)
	plan := planOf(t, "sidecar-default-dual-stack")
	for range 10 {
		concurrently(t, 10, func(i int) error {
			b := []*Backend{New(nstest.Here(t), owned), NewNative(nstest.Here(t), owned)}[i%2]
			return b.Take(t.Context(), installed.Backend{}, b.Form(plan))
		})
		compatible, native := load(t), nativeLoad(t)
		a, b := owned.Of(compatible), owned.Of(native)
		wantA, wantB := New(nil, owned).Form(plan), NewNative(nil, owned).Form(plan)
		wantA = owned.Of(wantA)
		if !(a.Equal(&wantA) && len(b.Tables) == 0) && !(b.Equal(&wantB) && len(a.Tables) == 0) {
			t.Errorf("a mixture is installed:\n%s\n%s", text(a), text(b))
		}
	}
}
