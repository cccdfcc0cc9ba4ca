package nftables

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
	"github.com/meshtables/meshtables/iptables/internal/plantest"
	plans "github.com/meshtables/meshtables/tests/recorded"
	"github.com/meshtables/meshtables/tests/soak"
)

// What is loaded of the native table is what was wanted, from any plan to any
// other, and nothing is left in the end.
func TestNativeRoundTrip(t *testing.T) {
	t.Run("recorded", func(t *testing.T) {
		t.Parallel()
		nstest.Enter(t)
		for _, c := range plans.Cases(t) {
			nativeTransition(t, c.Name, c.Config(t).Plan(c.Host()).Rules)
		}
		nativeNothing(t)
	})
	t.Run("made up", func(t *testing.T) {
		t.Parallel()
		nstest.Enter(t)
		for seed := range uint64(soak.Times(100, 1000)) {
			nativeTransition(t, fmt.Sprint(seed), plantest.Random(seed))
		}
		nativeNothing(t)
	})
}

func nativeTransition(t *testing.T, name string, plan iptables.Plan) {
	t.Helper()
	want := NewNative(nil, owned).Form(plan)
	nativeReplace(t, want)
	have := nativeLoad(t)
	if got := owned.Of(have); !got.Equal(&want) {
		t.Fatalf("%s (-want +got):\n%s\n%s", name, cmp.Diff(text(want), text(got)), nstest.Run(t, "nft", "list", "ruleset"))
	}
	unchanged(t, func() { nativeReplace(t, want) })
}

func nativeNothing(t *testing.T) {
	t.Helper()
	nativeReplace(t, iptables.Ruleset{})
	if left := nstest.Run(t, "nft", "list", "ruleset"); left != "" {
		t.Errorf("left over:\n%s", left)
	}
}

func nativeReplace(t testing.TB, want iptables.Ruleset) {
	t.Helper()
	if err := NewNative(nstest.Here(t), owned).Replace(t.Context(), installed.Backend{}, want); err != nil {
		t.Fatal(err)
	}
}

func nativeLoad(t testing.TB) iptables.Ruleset {
	t.Helper()
	return nativeFound(t).Rules
}

// nativeFound returns the native table with what is wrong with it.
func nativeFound(t testing.TB) installed.Backend {
	t.Helper()
	have, err := NewNative(nstest.Here(t), owned).Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return have
}

func planOf(t testing.TB, name string) iptables.Plan {
	t.Helper()
	for _, c := range plans.Cases(t) {
		if c.Name == name {
			return c.Config(t).Plan(c.Host()).Rules
		}
	}
	t.Fatalf("there is no recorded case %s", name)
	return iptables.Plan{}
}

// The table is for people to read.
func TestNativeListing(t *testing.T) {
	nstest.Enter(t)
	nativeReplace(t, NewNative(nil, owned).Form(planOf(t, "sidecar-default-dual-stack")))
	got := nstest.Run(t, "nft", "list", "table", "inet", "meshtables")
	for _, want := range []string{
		`tcp dport 15008 counter packets 0 bytes 0 return comment "--tunnel-port=15008: for the proxy as it is"`,
		`oifname "lo" counter packets 0 bytes 0 return comment "--proxy-uid=1337: the application to itself"`,
		`tcp dport { 15020-15021, 15090 } counter packets 0 bytes 0 return comment "--excluded-ports=`,
		`oifname "lo" ip6 daddr != ::1 tcp dport != 15008 meta skuid 1337 counter packets 0 bytes 0 jump ISTIO_IN_REDIRECT`,
		`meta l4proto tcp counter packets 0 bytes 0 redirect to :15001 comment "--outbound-port=15001"`,
	} {
		if n := strings.Count(got, want); n != 1 {
			t.Errorf("%q is there %d times in\n%s", want, n, got)
		}
	}
	if strings.Contains(got, "xt ") {
		t.Errorf("there is something of xtables in\n%s", got)
	}
}

// A rule as nft writes it, without a counter, is read like any other. Ours without one
// is told; a foreign one may do without.
func TestNativeUncounted(t *testing.T) {
	nstest.Enter(t)
	nativeReplace(t, NewNative(nil, owned).Form(planOf(t, "sidecar-default-dual-stack")))
	nstest.Run(t, "nft", "insert rule inet meshtables OUTPUT tcp dport 99 drop; insert rule inet meshtables ISTIO_OUTPUT udp dport 99 drop")
	found := nativeFound(t)
	have := found.Rules
	const fault = "chain ISTIO_OUTPUT of table inet meshtables has a rule without a counter: -p udp -m udp --dport 99 -j DROP"
	if got := installed.Texts(found.Faults); !slices.Contains(got, fault) || strings.Contains(strings.Join(got, "\n"), "OUTPUT of table inet meshtables has a rule without a counter: -p tcp") {
		t.Errorf("got the faults %q", got)
	}
	for chain, want := range map[string]string{
		"OUTPUT":       "-p tcp -m tcp --dport 99 -j DROP",
		"ISTIO_OUTPUT": "-p udp -m udp --dport 99 -j DROP",
	} {
		if got := have.Table(iptables.IPv4, iptables.Nat).Chain(chain).Rules[0].String(); got != want {
			t.Errorf("%s: got %s, want %s", chain, got, want)
		}
	}
	p := iptables.Packet{Hook: iptables.Output, State: iptables.StateNew, Out: "eth0", DestinationPort: 99,
		Source: netip.MustParseAddr("10.0.0.1"), Destination: netip.MustParseAddr("203.0.113.9")}
	for _, p.Protocol = range []iptables.Protocol{iptables.TCP, iptables.UDP} {
		if got := explain.Walk(&have, p); got.Verdict != explain.Dropped {
			t.Errorf("%s is %s", p.Protocol, got.Verdict)
		}
	}
}

// Other reasons for the same rules change nothing, and so not the comments either.
func TestNativeOtherOrigins(t *testing.T) {
	nstest.Enter(t)
	want := NewNative(nil, owned).Form(planOf(t, "sidecar-default-dual-stack"))
	nativeReplace(t, want)
	unchanged(t, func() {
		nativeReplace(t, want.Map(func(_ *iptables.Chain, r iptables.Rule) iptables.Rule {
			r.Origin = iptables.Origin{Option: "--other"}
			return r
		}))
	})
}

// The comments tell where each rule comes from, and why, when it is read back.
func TestNativeOrigins(t *testing.T) {
	nstest.Enter(t)
	want := NewNative(nil, owned).Form(planOf(t, "sidecar-default-dual-stack"))
	nativeReplace(t, want)
	have := nativeLoad(t)
	for _, table := range want.Tables {
		for _, c := range table.Chains {
			for i, r := range c.Rules {
				loaded := have.Table(table.Family, table.Name).Chain(c.Name).Rules[i]
				got := loaded.Origin.String()
				want := r.Origin.String()
				if len(want) >= 128 {
					want = r.Origin.Option // a longer comment does not fit
				}
				if got != want {
					t.Errorf("%s: got origin %s, want %s", r, got, want)
				}
				if loaded.Reason != r.Reason {
					t.Errorf("%s: got reason %q, want %q", r, loaded.Reason, r.Reason)
				}
			}
		}
	}
}

// The names that one wildcard stands for end where those of the next one begin; each
// is an element by itself, so that people, and nft itself, can read the list.
func TestNativeConsecutiveWildcards(t *testing.T) {
	nstest.Enter(t)
	cfg := sidecar.Default()
	cfg.ExcludedInterfaces = []string{"veth1+", "veth0+", "veth00", "veth3+"}
	plan := cfg.Plan(host.Host{}).Rules
	nativeTransition(t, "wildcards", plan)
	got := nstest.Run(t, "nft", "list", "table", "inet", "meshtables")
	for _, want := range []string{`iifname { "veth0*", "veth1*", "veth3*" }`, `oifname { "veth0*", "veth1*", "veth3*" }`} {
		if n := strings.Count(got, want); n != 1 {
			t.Errorf("%q is there %d times in\n%s", want, n, got)
		}
	}
	nativeReload(t, "wildcards", plan)
}

// A list of all addresses of a family is no condition on the address, but the rule
// stays one of that family: the other one's packets are captured as before.
func TestNativeAllAddressesOfAFamily(t *testing.T) {
	nstest.Enter(t)
	v4 := iptables.Packet{Hook: iptables.Output, Protocol: iptables.TCP, State: iptables.StateNew, Out: "eth0",
		Source: netip.MustParseAddr("10.0.0.1"), Destination: netip.MustParseAddr("203.0.113.9")}
	v6 := v4
	v6.Source, v6.Destination = netip.MustParseAddr("fd00::1"), netip.MustParseAddr("2001:db8::9")
	for _, test := range []struct {
		name     string
		excluded []string
		rule     string
		v4, v6   explain.Verdict
	}{
		{"IPv4", []string{"0.0.0.0/1", "128.0.0.0/1", "fd00::/8"}, "meta nfproto ipv4 counter", explain.Bypassed, explain.Redirected},
		{"IPv6", []string{"::/1", "8000::/1", "10.0.0.0/8"}, "meta nfproto ipv6 counter", explain.Redirected, explain.Bypassed},
		{"both", []string{"0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1"}, "meta nfproto ipv6 counter", explain.Bypassed, explain.Bypassed},
	} {
		cfg := sidecar.Default()
		cfg.IPv6 = sidecar.IPv6On
		for _, cidr := range test.excluded {
			cfg.ExcludedCIDRs = append(cfg.ExcludedCIDRs, netip.MustParsePrefix(cidr))
		}
		nativeTransition(t, test.name, cfg.Plan(host.Host{}).Rules)
		listing := nstest.Run(t, "nft", "list", "table", "inet", "meshtables")
		line := test.rule + ` packets 0 bytes 0 return comment "--excluded-cidrs=`
		if n := strings.Count(listing, line); n != 1 {
			t.Errorf("%s: %q is there %d times in\n%s", test.name, line, n, listing)
		}
		loaded := nativeLoad(t)
		for p, want := range map[*iptables.Packet]explain.Verdict{&v4: test.v4, &v6: test.v6} {
			if got := explain.Walk(&loaded, *p); got.Verdict != want {
				t.Errorf("%s: what goes to %s is %s, want %s", test.name, p.Destination, got.Verdict, want)
			}
		}
	}
}
