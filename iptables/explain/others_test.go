package explain_test

import (
	"net/netip"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/internal/packettest"
)

// aheadOfOurs returns the path through ours with a table of nft that comes first.
func aheadOfOurs(t *testing.T, rules ...iptables.Rule) *installed.Path {
	t.Helper()
	drops := iptables.Chain{Name: "drops", Rules: []iptables.Rule{{Target: iptables.Drop}}}
	base := installed.Base{Form: installed.Other, Family: iptables.IPv4, Table: "ip x", Chain: "out"}
	base.Hook, base.Priority, base.Kind = iptables.Output, -400, "filter"
	n := &installed.Namespace{
		Ownership: sidecar.Ownership(), HasBases: true, Bases: []installed.Base{base},
		Backends: []installed.Backend{{Form: installed.Native, Rules: *ruleset(t, ours), Ownership: sidecar.Ownership()}},
		Others: []iptables.Table{{Family: iptables.IPv4, Name: "ip x", Chains: []iptables.Chain{
			{Name: "out", Policy: "ACCEPT", Rules: rules}, drops,
		}}},
	}
	path := n.Path(installed.Native)
	return &path
}

// Rules of nft do several things, as long as the packet meets what is before each, or
// choose by a value of it.
func TestWalkNFT(t *testing.T) {
	t.Parallel()
	doubt := []iptables.Match{iptables.Doubtful{Doubt: iptables.Doubt{What: "socket transparent 1"}}}
	toPort := func(port uint16) []iptables.Match {
		return []iptables.Match{iptables.Ports{Protocol: iptables.TCP, Destination: iptables.PortMatch{Range: iptables.Port(port), Set: true}}}
	}
	mark := iptables.SetMark{Value: 1, Mask: iptables.FullMask}
	choice := func(key iptables.Key, at iptables.Interval, t iptables.Target) iptables.Choice {
		elements := iptables.NewElements([]iptables.Element{{at}})
		return iptables.Choice{Lookup: iptables.Comparison{Keys: []iptables.Key{key}, Elements: elements, Words: "x"}, Targets: []iptables.Target{t}}
	}
	byPort := iptables.Key{Field: iptables.Field(iptables.DestinationPort), Size: 2}
	at := func(port uint16) iptables.Interval { return iptables.PortInterval(iptables.Port(port)) }
	chance := iptables.Key{Size: 4, Possible: iptables.IDInterval(0, 1), Chance: true}
	for name, test := range map[string]struct {
		rule iptables.Rule
		want string
	}{
		"marks and goes on":      {iptables.Rule{Target: iptables.Statements{{Target: mark}, {Matches: toPort(81), Target: iptables.Drop}}}, "redirected port 15001, mark 0x3"},
		"marks and drops":        {iptables.Rule{Target: iptables.Statements{{Target: mark}, {Matches: toPort(80), Target: iptables.Drop}}}, "dropped port 0, mark 0x1"},
		"may drop":               {iptables.Rule{Target: iptables.Statements{{Target: iptables.UnknownTarget{Name: "LOG"}}, {Matches: doubt, Target: iptables.Drop}}}, "unknown port 0, mark 0x0"},
		"may log":                {iptables.Rule{Matches: doubt, Target: iptables.Statements{{Target: iptables.UnknownTarget{Name: "LOG"}}, {Target: iptables.Statement{Words: "add @x", Does: iptables.Passes}}}}, "redirected port 15001, mark 0x0"},
		"chooses a chain":        {iptables.Rule{Target: choice(byPort, at(80), iptables.Goto{Chain: "drops"})}, "dropped port 0, mark 0x0"},
		"chooses nothing":        {iptables.Rule{Target: choice(byPort, at(81), iptables.Goto{Chain: "drops"})}, "redirected port 15001, mark 0x0"},
		"chooses by chance":      {iptables.Rule{Target: choice(chance, iptables.IDInterval(0, 0), iptables.Jump{Chain: "drops"})}, "unknown port 0, mark 0x0"},
		"chooses in the end":     {iptables.Rule{Target: iptables.Statements{{Target: mark}, {Target: choice(byPort, at(80), iptables.Drop)}}}, "dropped port 0, mark 0x1"},
		"does what is not known": {iptables.Rule{Target: iptables.Statement{Words: "fwd to another interface"}}, "unknown port 0, mark 0x0"},
		"rewrites":               {iptables.Rule{Target: iptables.Statement{Words: "ip daddr set 10.0.0.9", Does: iptables.Rewrites}}, "taken port 0, mark 0x0"},
	} {
		p := packet()
		p.Destination = netip.MustParseAddr("203.0.113.10")
		p.DestinationPort = 80
		result := explain.WalkPath(aheadOfOurs(t, test.rule), p)
		if got, want := packettest.Fate(result), test.want+", connection mark 0x0, zone 0"; got != want {
			t.Errorf("%s: got %s\nwant %s", name, got, want)
		}
		if result.Verdict == explain.Dropped && place(result.Path[0]) != "ip x out 1" {
			t.Errorf("%s: the path begins at %s", name, place(result.Path[0]))
		}
	}
}
