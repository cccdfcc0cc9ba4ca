package nftables

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
)

// From any state to any other: ours becomes what is wanted, the rest stays as it
// is, and doing it again does nothing.
func TestTransitions(t *testing.T) {
	cases := recordedCases(t)
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			nstest.Enter(t)
			random := rand.New(rand.NewPCG(seed, 2))
			for _, family := range iptables.Families() {
				restore(t, family, strings.ReplaceAll(foreignRules, "PING", ping(family)), "-c")
			}
			before, handles := saved(t, "-c"), foreignHandles(t)
			for range 25 {
				c := cases[random.IntN(len(cases))]
				rs := c.ruleset(t)
				transition(t, c.Name, owned.Of(rs), handles)
			}
			transition(t, "nothing", iptables.Ruleset{}, handles)
			if d := cmp.Diff(before, saved(t, "-c")); d != "" {
				t.Errorf("after the removal (-before +after):\n%s", d)
			}
		})
	}
}

func transition(t *testing.T, name string, want iptables.Ruleset, handles []string) {
	t.Helper()
	replace(t, want)
	got := load(t)
	if own := owned.Of(got); !own.Equal(&want) {
		t.Errorf("%s (-want +got):\n%s", name, cmp.Diff(text(want), text(own)))
	}
	if d := cmp.Diff(handles, foreignHandles(t)); d != "" {
		t.Errorf("%s: foreign rules changed (-before +after):\n%s", name, d)
	}
	unchanged(t, func() { replace(t, want) })
}

// unchanged fails if the kernel's rules get a new generation.
func unchanged(t testing.TB, do func()) {
	t.Helper()
	before := generation(t)
	do()
	if after := generation(t); before != after {
		t.Errorf("the rules were written again: generation %d became %d", before, after)
	}
}

// sidecar returns the default ruleset of a dual-stack sidecar.
func sidecarRules(t testing.TB) iptables.Ruleset { return named(t, "sidecar-default-dual-stack") }

func named(t testing.TB, name string) iptables.Ruleset {
	t.Helper()
	for _, c := range recordedCases(t) {
		if c.Name == name {
			rs := c.ruleset(t)
			return owned.Of(rs)
		}
	}
	t.Fatalf("there is no recorded case %s", name)
	return iptables.Ruleset{}
}

// Chains and jumps that are right keep their counters when others change.
func TestCountersOfUnchangedChains(t *testing.T) {
	nstest.Enter(t)
	want := sidecarRules(t)
	restore(t, iptables.IPv4, `*nat
:ISTIO_REDIRECT - [0:0]
:ISTIO_IN_REDIRECT - [0:0]
:ISTIO_INBOUND - [0:0]
:ISTIO_OUTPUT - [0:0]
[1:2] -A OUTPUT -j ISTIO_OUTPUT
[3:4] -A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001
[5:6] -A ISTIO_OUTPUT -j ACCEPT
COMMIT
`, "-c")
	replace(t, want)
	rs := load(t)
	if own := owned.Of(rs); !own.Equal(&want) {
		t.Fatalf("(-want +got):\n%s", cmp.Diff(text(want), text(own)))
	}
	nat := rs.Table(iptables.IPv4, iptables.Nat)
	for chain, counters := range map[string]iptables.Counters{
		iptables.Output:  {Packets: 1, Bytes: 2},
		"ISTIO_REDIRECT": {Packets: 3, Bytes: 4},
		"ISTIO_OUTPUT":   {},
	} {
		if got := nat.Chain(chain).Rules[0].Counters; got != counters {
			t.Errorf("chain %s counts %v, not %v", chain, got, counters)
		}
	}
}

// Whatever state another tool or a half-done run left, the next run converges.
func TestFromBrokenStates(t *testing.T) {
	for name, commands := range map[string][]string{
		"jump doubled": {"iptables-nft -t nat -A OUTPUT -j ISTIO_OUTPUT"},
		"jump gone":    {"iptables-nft -t nat -D OUTPUT -j ISTIO_OUTPUT"},
		"rule moved": {
			"iptables-nft -t nat -D ISTIO_OUTPUT 1",
			"iptables-nft -t nat -A ISTIO_OUTPUT -s 127.0.0.6/32 -o lo -j RETURN",
		},
		"rule gone":  {"ip6tables-nft -t nat -D ISTIO_OUTPUT 1"},
		"rule added": {"ip6tables-nft -t nat -I ISTIO_OUTPUT -m comment --comment x"},
		"chain more": {"iptables-nft -t nat -N ISTIO_MORE", "iptables-nft -t nat -A ISTIO_OUTPUT -j ISTIO_MORE"},
		"jump from a foreign chain": {
			"iptables-nft -t nat -N FOREIGN",
			"iptables-nft -t nat -A FOREIGN -j ISTIO_OUTPUT",
		},
		"our chain on a hook": {
			"nft add chain ip nat ISTIO_HOOKED { type nat hook output priority 7; }",
			"nft add rule ip nat ISTIO_HOOKED jump ISTIO_OUTPUT",
		},
		"table flushed": {"iptables-nft -t nat -F"},
		"table deleted": {"nft delete table ip nat"},
		"native rule":   {"nft add rule ip nat ISTIO_OUTPUT tcp dport { 1, 2 } redirect to :9"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nstest.Enter(t)
			want := sidecarRules(t)
			replace(t, want)
			for _, command := range commands {
				words := strings.Fields(command)
				nstest.Run(t, words[0], words[1:]...)
			}
			if rs := load(t); func() bool { own := owned.Of(rs); return own.Equal(&want) }() {
				t.Error("the change is not seen")
			}
			replace(t, want)
			rs := load(t)
			if own := owned.Of(rs); !own.Equal(&want) {
				t.Errorf("(-want +got):\n%s", cmp.Diff(text(want), text(own)))
			}
		})
	}
}

// What somebody put into our chains can be put back after a change, also where
// the model has no type for it.
func TestPutBack(t *testing.T) {
	nstest.Enter(t)
	replace(t, sidecarRules(t))
	for _, command := range []string{
		`iptables-nft -t nat -A ISTIO_OUTPUT -m comment --comment it's\"so\"`,
		"iptables-nft -t nat -A ISTIO_OUTPUT -m limit --limit 5/min -j RETURN",
		"iptables-nft -t nat -A ISTIO_OUTPUT -p tcp -m statistic --mode nth --every 2 --packet 0 -j DNAT --to-destination 1.2.3.4",
		"ip6tables-nft -t nat -A ISTIO_OUTPUT -p ipv6-icmp -m icmp6 --icmpv6-type 128",
		"nft add rule ip nat ISTIO_OUTPUT meta skuid 7 ct state new log prefix x counter redirect",
		"nft add rule ip nat ISTIO_OUTPUT ip saddr 1.2.3.4-1.2.3.7 meta length 7 counter accept",
	} {
		words := strings.Fields(command)
		nstest.Run(t, words[0], words[1:]...)
	}
	before, listed := load(t), nstest.Run(t, "nft", "list", "ruleset")
	replace(t, iptables.Ruleset{})
	replace(t, owned.Of(before))
	isInstalled(t, owned.Of(before))
	if d := cmp.Diff(listed, nstest.Run(t, "nft", "list", "ruleset")); d != "" {
		t.Errorf("(-before +after):\n%s", d)
	}
}

// A jump to our chains from one of somebody else is loaded with them, and stays where
// it is if it is wanted again, as it is for a while where a run takes two steps.
func TestJumpFromAnotherChain(t *testing.T) {
	for name, chain := range map[string]string{
		"a chain":      "add chain ip nat theirs",
		"a base chain": "add chain ip nat theirs { type nat hook output priority 7; }",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nstest.Enter(t)
			replace(t, sidecarRules(t))
			nstest.Run(t, "nft", chain+"; add rule ip nat theirs counter packets 7 bytes 8 jump ISTIO_REDIRECT; add rule ip nat theirs counter accept")
			theirs := nstest.Run(t, "nft", "-a", "list", "chain", "ip", "nat", "theirs")
			before := load(t)
			want := owned.Of(before)
			for i := range want.Tables {
				want.Tables[i].Append("ISTIO_MORE", iptables.Rule{Target: iptables.Return})
			}
			want.Sort()
			replace(t, want)
			isInstalled(t, want)
			if d := cmp.Diff(theirs, nstest.Run(t, "nft", "-a", "list", "chain", "ip", "nat", "theirs")); d != "" {
				t.Errorf("the chain was changed:\n%s", d)
			}
			replace(t, sidecarRules(t))
			isInstalled(t, sidecarRules(t))
		})
	}
}

func TestNoSuchBuiltinChain(t *testing.T) {
	nstest.Enter(t)
	want := sidecarRules(t)
	want.Tables[0].Append("NOBODYS", iptables.Rule{Target: iptables.Jump{Chain: "ISTIO_OUTPUT"}})
	err := New(nstest.Here(t), owned).Replace(t.Context(), installed.Backend{}, want)
	if err == nil || !strings.Contains(err.Error(), "has no built-in chain NOBODYS") {
		t.Errorf("got %v", err)
	}
}

// Replace refuses to write where the rules would not do what they say.
func TestUnusableTables(t *testing.T) {
	for name, tt := range map[string]struct{ command, want string }{
		"dormant":       {"add table ip nat { flags dormant; }", "table ip nat is dormant"},
		"other chain":   {"add table ip nat; add chain ip nat OUTPUT", "chain OUTPUT of table ip nat is not from iptables"},
		"other place":   {"add table ip nat; add chain ip nat OUTPUT { type nat hook output priority 5; }", "chain OUTPUT of table ip nat is not from iptables"},
		"other type":    {"add table ip nat; add chain ip nat OUTPUT { type filter hook output priority -100; }", "chain OUTPUT of table ip nat is not from iptables"},
		"not dangerous": {"add table ip nat; add chain ip nat output { type nat hook output priority 5; }", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nstest.Enter(t)
			nstest.Run(t, "nft", tt.command)
			err := New(nstest.Here(t), owned).Replace(t.Context(), found(t), sidecarRules(t))
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if err != nil {
				unchanged(t, func() { replace(t, iptables.Ruleset{}) })
			}
		})
	}
}

func TestForeignRulesAreRefused(t *testing.T) {
	t.Parallel()
	table := iptables.NewTable(iptables.IPv4, iptables.Nat)
	table.Append(iptables.Output, iptables.Rule{Target: iptables.Accept})
	err := New(nstest.Here(t), owned).Replace(t.Context(), installed.Backend{}, iptables.Ruleset{Tables: []iptables.Table{table}})
	if err == nil || !strings.Contains(err.Error(), "not ours to write") {
		t.Errorf("got %v", err)
	}
}
