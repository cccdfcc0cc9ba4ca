package trace

import (
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel/nftables"
)

// traceable are rules that the paths below are made of.
const traceable = `*mangle
:PREROUTING ACCEPT
-A PREROUTING -j TPROXY --on-port 15006 --on-ip 0.0.0.0 --tproxy-mark 0x539/0xffffffff
-A PREROUTING -j DSCP --set-dscp 0x01
COMMIT
*nat
:PREROUTING ACCEPT
-A PREROUTING -j LOG
-A PREROUTING -j REDIRECT --to-ports 15001
-A PREROUTING -j REDIRECT
-A PREROUTING -j DNAT --to-destination 203.0.113.9
COMMIT
`

// ofNFT are rules that only nft lists.
func ofNFT() iptables.Table {
	log, dnat := iptables.UnknownTarget{Name: "LOG"}, iptables.UnknownTarget{Name: "DNAT"}
	counts := iptables.Statement{Words: "add @seen { ip saddr }", Does: iptables.Passes}
	return iptables.Table{Family: iptables.IPv4, Name: "ip x", Chains: []iptables.Chain{{Name: "c", Rules: []iptables.Rule{
		{Target: iptables.Statements{{Target: log}, {Target: dnat}}},
		{Target: iptables.Statements{{Target: log}, {Target: counts}, {Target: iptables.Redirect{}}}},
		{Target: iptables.Statement{Words: "unheard of"}},
		{Target: iptables.Choice{Targets: []iptables.Target{log, iptables.Jump{Chain: "d"}}, Otherwise: iptables.Accept}},
		{Target: iptables.Choice{Targets: []iptables.Target{log, dnat}}},
	}}}}
}

// The rules that the kernel reports tell what became of a packet, as long as each is
// known.
func TestVerdict(t *testing.T) {
	t.Parallel()
	tables, err := iptables.ParseSave(iptables.IPv4, strings.NewReader(traceable))
	if err != nil {
		t.Fatal(err)
	}
	path := &installed.Path{Rules: iptables.Ruleset{Tables: append(tables, ofNFT())}}
	x := func(n int) nftables.TraceStep { return nftables.TraceStep{Table: "ip x", Chain: "c", Position: n} }
	mangle := func(n int) nftables.TraceStep {
		return nftables.TraceStep{Table: iptables.Mangle, Chain: iptables.Prerouting, Position: n}
	}
	nat := func(n int) nftables.TraceStep {
		return nftables.TraceStep{Table: iptables.Nat, Chain: iptables.Prerouting, Position: n}
	}
	other := nftables.TraceStep{Table: "inet other", Chain: "in"}
	filter := nftables.TraceStep{Table: "filter", Chain: "INPUT", Position: 1}
	policy := nftables.TraceStep{Table: "filter", Chain: "INPUT", Policy: true, Dropped: true}
	type steps = []nftables.TraceStep
	for name, test := range map[string]struct {
		path    steps
		refused error
		verdict explain.Verdict
		port    uint16
	}{
		"nothing":            {nil, nil, explain.Unknown, 0},
		"only tells":         {steps{nat(1)}, nil, explain.Bypassed, 0},
		"redirects":          {steps{nat(1), nat(2), filter}, nil, explain.Redirected, 15001},
		"without a port":     {steps{nat(3)}, nil, explain.Redirected, 80},
		"TPROXY":             {steps{mangle(1), nat(2)}, nil, explain.TProxied, 15006},
		"rewritten":          {steps{nat(4)}, nil, explain.Taken, 0},
		"unknown before":     {steps{mangle(2), nat(2)}, nil, explain.Redirected, 15001},
		"other table":        {steps{nat(1), other}, nil, explain.Unknown, 0},
		"dropped at last":    {steps{nat(2), policy}, nil, explain.Dropped, 0},
		"dropped, unknown":   {steps{nat(4), policy}, nil, explain.Dropped, 0},
		"no route":           {nil, unix.EHOSTUNREACH, Refused, 0},
		"refused on its way": {steps{nat(2)}, unix.EPERM, Refused, 0},
		"UDP is dropped":     {steps{nat(2), policy}, unix.EPERM, explain.Dropped, 0},
		"and rewritten":      {steps{x(1)}, nil, explain.Taken, 0},
		"and redirected":     {steps{x(2)}, nil, explain.Redirected, 80},
		"unknown statement":  {steps{x(3)}, nil, explain.Unknown, 0},
		"chosen, to go on":   {steps{x(4), nat(2)}, nil, explain.Redirected, 15001},
		"chosen, to where":   {steps{x(5)}, nil, explain.Unknown, 0},
		"kept by TPROXY":     {steps{mangle(1), x(1)}, nil, explain.TProxied, 15006},
	} {
		t.Run(name, func(t *testing.T) {
			report := Report{
				Sent: iptables.Packet{Destination: netip.MustParseAddr("10.244.1.7"), DestinationPort: 80},
				Path: test.path, Refused: test.refused,
			}
			if v, port := report.Verdict(path); v != test.verdict || port != test.port {
				t.Errorf("got %s, port %d, want %s, port %d", v, port, test.verdict, test.port)
			}
		})
	}
}

// Only a target that hands packets on fails.
func TestTargetFailed(t *testing.T) {
	t.Parallel()
	tables, err := iptables.ParseSave(iptables.IPv4, strings.NewReader(traceable))
	if err != nil {
		t.Fatal(err)
	}
	path := &installed.Path{Rules: iptables.Ruleset{Tables: tables}}
	for _, test := range []struct {
		step nftables.TraceStep
		want bool
	}{
		{nftables.TraceStep{Table: iptables.Mangle, Chain: iptables.Prerouting, Position: 1, Dropped: true}, true},
		{nftables.TraceStep{Table: iptables.Nat, Chain: iptables.Prerouting, Position: 2, Dropped: true}, true},
		{nftables.TraceStep{Table: iptables.Nat, Chain: iptables.Prerouting, Position: 2}, false},
		{nftables.TraceStep{Table: iptables.Nat, Chain: iptables.Prerouting, Position: 4, Dropped: true}, false},
		{nftables.TraceStep{Table: "filter", Chain: "INPUT", Policy: true, Dropped: true}, false},
	} {
		report := Report{
			Sent: iptables.Packet{Destination: netip.MustParseAddr("10.244.1.7")},
			Path: []nftables.TraceStep{test.step},
		}
		if got := report.TargetFailed(path); got != test.want {
			t.Errorf("%+v: got %t", test.step, got)
		}
	}
}
