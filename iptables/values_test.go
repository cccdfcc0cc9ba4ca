package iptables_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
)

func TestValues(t *testing.T) {
	t.Parallel()
	ports := func(first, last uint16) iptables.PortMatch {
		return iptables.PortMatch{Range: iptables.PortRange{First: first, Last: last}, Set: true}
	}
	notPort := ports(80, 80)
	notPort.Not = true
	uids := iptables.Set{Field: iptables.OwnerUID, Not: true, Elements: []iptables.Interval{iptables.IDInterval(1, 1), iptables.IDInterval(5, 9)}}
	multiport := func(side iptables.PortSide) iptables.Rule {
		return iptables.Rule{Matches: []iptables.Match{iptables.Multiport{Side: side, Ports: []iptables.PortRange{iptables.Port(7), {First: 80, Last: 90}}}}}
	}
	both := iptables.Rule{Matches: []iptables.Match{
		iptables.Owner{UID: iptables.NotID(3), GID: iptables.ID(4)}, iptables.Comment{Text: "x"}, uids,
	}}
	for _, test := range []struct {
		rule          iptables.Rule
		field         iptables.SetField
		values, named string // values as a set of them is written, "" if not ok
	}{
		{iptables.Rule{}, iptables.SourceAddress, "", ""},
		{iptables.Rule{Source: iptables.MatchAddress(netip.MustParsePrefix("10.0.0.0/8"))}, iptables.SourceAddress, "-s {10.0.0.0/8}", "10.0.0.0/8"},
		{iptables.Rule{Source: iptables.MatchAddress(netip.MustParsePrefix("10.0.0.0/8"))}, iptables.DestinationAddress, "", ""},
		{iptables.Rule{Destination: iptables.NotAddress(netip.MustParsePrefix("::1/128"))}, iptables.DestinationAddress, "! -d {::1/128}", "::1/128"},
		{iptables.Rule{In: iptables.MatchInterface("eth+")}, iptables.InInterface, "-i {eth+}", "eth+"},
		{iptables.Rule{Out: iptables.Interface{Name: "lo", Not: true}}, iptables.OutInterface, "! -o {lo}", "lo"},
		{iptables.Rule{Matches: []iptables.Match{iptables.Ports{Source: ports(1, 9), Destination: notPort}}}, iptables.SourcePort, "--sport {1:9}", "1:9"},
		{iptables.Rule{Matches: []iptables.Match{iptables.Ports{Source: ports(1, 9), Destination: notPort}}}, iptables.DestinationPort, "! --dport {80}", "80"},
		{iptables.Rule{Matches: []iptables.Match{iptables.Ports{}}}, iptables.DestinationPort, "", ""},
		{multiport(iptables.SourcePorts), iptables.SourcePort, "--sport {7,80:90}", "7 80:90"},
		{multiport(iptables.SourcePorts), iptables.DestinationPort, "", ""},
		{multiport(iptables.DestinationPorts), iptables.DestinationPort, "--dport {7,80:90}", "7 80:90"},
		{multiport(iptables.EitherPorts), iptables.DestinationPort, "", ""},
		{both, iptables.OwnerUID, "", "3 1 5-9"},
		{both, iptables.OwnerGID, "--gid-owner {4}", "4"},
		{iptables.Rule{Matches: []iptables.Match{uids}}, iptables.OwnerUID, "! --uid-owner {1,5-9}", "1 5-9"},
	} {
		values, not, ok := test.rule.Values(test.field)
		got := ""
		if ok {
			got = iptables.Rule{Matches: []iptables.Match{iptables.Set{Field: test.field, Not: not, Elements: values}}}.String()
		}
		var named []string
		for _, i := range test.rule.Named(test.field) {
			named = append(named, i.Text(test.field))
		}
		if got != test.values || strings.Join(named, " ") != test.named {
			t.Errorf("%s of %s: got %q and %q, want %q and %q", test.field, test.rule, got, named, test.values, test.named)
		}
	}
}
