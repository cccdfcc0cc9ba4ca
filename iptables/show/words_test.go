package show

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
)

func TestWords(t *testing.T) {
	t.Parallel()
	for rule, want := range map[string]string{
		"":                    "everything → count",
		"-j ACCEPT":           "everything → accept",
		"-g OTHER":            "everything → OTHER (goto)",
		"-i eth+ -j DROP":     "in via eth+ → drop",
		"! -o lo -j RETURN":   "not out via lo → return",
		"! -p udp -j RETURN":  "not udp → return",
		"-s 10.0.0.0/8 -j X":  "from 10.0.0.0/8 → X",
		"! -d 10.0.0.1 -j X":  "to any address but 10.0.0.1 → X",
		"-p tcp -j REDIRECT":  "tcp → redirect to the same port here",
		"-p tcp -m tcp -j X":  "tcp → X",
		"-j CT --zone 2":      "everything → track in zone 2",
		"-j MASQUERADE":       "everything → -j MASQUERADE",
		"-m limit --limit 1 ": "-m limit --limit 1 → count",

		"-p tcp -j REDIRECT --to-ports 15001":                                          "tcp → redirect to port 15001",
		"-p tcp -m tcp --sport 1 ! --dport 2:3 -j X":                                   "tcp from port 1 to any port but 2:3 → X",
		"-p tcp -m multiport ! --dports 53,15008 -j X":                                 "tcp to any port but 53,15008 → X",
		"-p tcp -m multiport --ports 1 -j X":                                           "tcp from or to port 1 → X",
		"-m owner --uid-owner 1000-2000 ! --gid-owner 5 -j X":                          "of user 1000 to 2000, not of group 5 → X",
		"-m conntrack --ctstate RELATED,ESTABLISHED -j X":                              "in state RELATED,ESTABLISHED → X",
		"-m mark ! --mark 0x1/0x3 -j X":                                                "not marked 0x1/0x3 → X",
		"-m connmark --mark 0x539 -j X":                                                "of a connection marked 0x539 → X",
		"-j MARK --set-xmark 0x539/0xffffffff":                                         "everything → mark 0x539",
		"-j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff":              "everything → save the mark to the connection",
		"-j CONNMARK --set-xmark 0x111/0xfff":                                          "everything → mark the connection 0x111/0xfff",
		"-j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff":           "everything → restore the mark from the connection",
		"-p tcp -j TPROXY --on-port 7 --on-ip 0.0.0.0 --tproxy-mark 0x539/0xffffffff":  "tcp → hand to port 7 by TPROXY and mark 0x539",
		"-s 10.0.0.1/32 -o lo -p tcp -m tcp --dport 80 -m owner --uid-owner 1 -j DROP": "tcp to port 80, of user 1, out via lo, from 10.0.0.1 → drop",
	} {
		r := parseRule(t, rule)
		if got := conditions(r) + arrow + verdict(r); got != want {
			t.Errorf("%q: %q, want %q", rule, got, want)
		}
	}
}

func TestSetWords(t *testing.T) {
	t.Parallel()
	prefixes := func(list ...string) (intervals []iptables.Interval) {
		for _, p := range list {
			intervals = append(intervals, iptables.PrefixInterval(netip.MustParsePrefix(p)))
		}
		return intervals
	}
	ids := []iptables.Interval{iptables.IDInterval(1, 1), iptables.IDInterval(10, 12)}
	names := []iptables.Interval{iptables.InterfaceInterval("eth1"), iptables.InterfaceInterval("tap+")}
	var ports []iptables.Interval
	for port := uint16(1); port < 20; port += 2 {
		ports = append(ports, iptables.PortInterval(iptables.Port(port)))
	}
	nets := prefixes("10.0.0.1/32", "10.2.0.0/16")
	for _, test := range []struct {
		want string
		rule iptables.Rule
	}{
		{"tcp to port 1,3,5", ruleOf(t, "-p tcp", iptables.NewSet(iptables.DestinationPort, false, ports[:3]))},
		{"tcp to any port but 1,3,5", ruleOf(t, "-p tcp", iptables.NewSet(iptables.DestinationPort, true, ports[:3]))},
		{"tcp from port 1,3,5,7,9,11,13,15,... (10 values)", ruleOf(t, "-p tcp", iptables.NewSet(iptables.SourcePort, false, ports))},
		{"of user 1,10-12", ruleOf(t, "", iptables.NewSet(iptables.OwnerUID, false, ids))},
		{"not of group 1,10-12", ruleOf(t, "", iptables.NewSet(iptables.OwnerGID, true, ids))},
		{"udp, in via eth1,tap+", ruleOf(t, "-p udp", iptables.NewSet(iptables.InInterface, false, names))},
		{"not out via eth1,tap+", ruleOf(t, "", iptables.NewSet(iptables.OutInterface, true, names))},
		{"from 10.0.0.1,10.2.0.0/16", ruleOf(t, "", iptables.NewSet(iptables.SourceAddress, false, nets))},
		{"to any address but 10.0.0.1,10.2.0.0/16", ruleOf(t, "", iptables.NewSet(iptables.DestinationAddress, true, nets))},
		{"-d {10.0.0.1/32,10.2.0.0/16}, to any address but 10.2.0.1",
			ruleOf(t, "! -d 10.2.0.1/32", iptables.NewSet(iptables.DestinationAddress, false, nets))},
	} {
		if got := conditions(test.rule); got != test.want {
			t.Errorf("%s: %q, want %q", test.rule, got, test.want)
		}
	}
	v4 := ruleOf(t, "", iptables.NewSet(iptables.DestinationAddress, false, nets))
	v6 := iptables.Rule{Destination: iptables.MatchAddress(netip.MustParsePrefix("fd00::/8"))}
	if got, want := conditions(v4, v6), "to 10.0.0.1,10.2.0.0/16 or fd00::/8"; got != want || shape(v4) != shape(v6) {
		t.Errorf("%q, want %q; shapes %s and %s", got, want, shape(v4), shape(v6))
	}
	if all := ruleOf(t, ""); shape(all) == shape(v4) {
		t.Error("a rule without an address has the shape of one that has some")
	}
}

// ruleOf returns a rule with matches that iptables has no words for.
func ruleOf(t *testing.T, rule string, sets ...iptables.Match) iptables.Rule {
	t.Helper()
	r := parseRule(t, rule)
	r.Matches = append(r.Matches, sets...)
	return r
}

func parseRule(t *testing.T, rule string) iptables.Rule {
	t.Helper()
	text := "*nat\n:X - [0:0]\n:OTHER - [0:0]\n-A OTHER " + rule + "\nCOMMIT\n"
	tables, err := iptables.ParseSave(iptables.IPv4, strings.NewReader(text))
	if err != nil {
		t.Fatalf("%q: %v", rule, err)
	}
	return tables[0].Chain("OTHER").Rules[0]
}

func TestQuantity(t *testing.T) {
	t.Parallel()
	for n, want := range map[uint64]string{
		0: "0", 99_999: "99999", 100_000: "100K", 1_499: "1499", 99_999_499: "99999K", 99_999_500: "100M",
		1_234_567_890_123_456: "1235T", 1<<64 - 1: "18447P",
	} {
		if got := quantity(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
