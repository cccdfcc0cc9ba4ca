package iptables

import (
	"net/netip"
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	tcp := ProtocolMatch{Protocol: TCP}
	for name, test := range map[string]struct {
		rule Rule
		want string // "" where the rule is right
	}{
		"right":           {Rule{Protocol: tcp, Matches: []Match{Ports{Protocol: TCP}}, Target: Jump{"ISTIO_B"}}, ""},
		"no such chain":   {Rule{Target: Jump{"ISTIO_C"}}, "there is no chain ISTIO_C"},
		"loop":            {Rule{Target: Goto{Output}}, "the chain jumps back to itself"},
		"other family":    {Rule{Source: MatchAddress(netip.MustParsePrefix("fd00::/8"))}, "fd00::/8 is not an IPv4 address"},
		"long interface":  {Rule{In: Interface{Name: "0123456789abcdef"}}, "longer than 15 bytes"},
		"no protocol":     {Rule{Matches: []Match{Ports{Protocol: TCP}}}, "the match tcp needs -p tcp"},
		"negated":         {Rule{Protocol: ProtocolMatch{TCP, true}, Matches: []Match{Ports{Protocol: TCP}}}, "needs -p tcp"},
		"many ports":      {Rule{Protocol: tcp, Matches: []Match{Multiport{Ports: make([]PortRange, 16)}}}, "1 to 15 ports"},
		"many ranges":     {Rule{Protocol: tcp, Matches: []Match{Multiport{Ports: []PortRange{{1, 2}, {3, 4}, {5, 6}, {7, 8}, {9, 10}, {11, 12}, {13, 14}, {15, 16}}}}}, "1 to 15 ports"},
		"multiport alone": {Rule{Matches: []Match{Multiport{Ports: make([]PortRange, 1)}}}, "needs -p tcp or -p udp"},
		"longest comment": {Rule{Matches: []Match{Comment{strings.Repeat("x", MaxComment)}}}, ""},
		"long comment":    {Rule{Matches: []Match{Comment{strings.Repeat("x", MaxComment+1)}}}, "longer than 255 bytes"},
		"two lines":       {Rule{Matches: []Match{Comment{"x\ny"}}}, "a NUL or a newline"},
		"other table":     {Rule{Target: TProxy{}}, "exists in table mangle only"},
	} {
		t.Run(name, func(t *testing.T) {
			table := NewTable(IPv4, Nat)
			table.Append(Output, Rule{Target: Jump{"ISTIO_A"}})
			table.Append("ISTIO_A", test.rule)
			table.Append("ISTIO_B")
			rs := Ruleset{Tables: []Table{table}}
			err := rs.Validate()
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestValidateNamesWhere(t *testing.T) {
	table := NewTable(IPv6, Nat)
	table.Append(strings.Repeat("x", 29))
	table.Append(Output, Rule{}, Rule{Target: Jump{"NOWHERE"}})
	rs := Ruleset{Tables: []Table{table}}
	err := rs.Validate()
	for _, want := range []string{
		"IPv6 table nat, chain OUTPUT: rule 2 (-j NOWHERE): there is no chain NOWHERE",
		"the name is longer than 28 bytes",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
}
