package compact_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/compact"
)

// flip inverts a bit of a packet's mark: to do it twice is to do nothing.
const flip = "-j MARK --set-xmark 0x1/0x0"

// parse returns a table with these rules in the chain ISTIO_A, and some chains that
// they can jump to.
func parse(t *testing.T, lines ...string) iptables.Ruleset {
	t.Helper()
	text := "*nat\n:OUTPUT ACCEPT [0:0]\n:ISTIO_A - [0:0]\n:ISTIO_B - [0:0]\n:ISTIO_FLIP - [0:0]\n" +
		":ISTIO_GOTO_FLIP - [0:0]\n:ISTIO_GOTO_NOWHERE - [0:0]\n:ISTIO_SOME - [0:0]\n:ISTIO_SOME_BY_GOTO - [0:0]\n:ISTIO_NONE - [0:0]\n" +
		"-A OUTPUT -j ISTIO_A\n-A ISTIO_A " + strings.Join(lines, "\n-A ISTIO_A ") + "\n" +
		"-A ISTIO_B -p tcp -j REDIRECT --to-ports 1\n" +
		"-A ISTIO_FLIP -p tcp " + flip + "\n-A ISTIO_GOTO_FLIP -g ISTIO_FLIP\n-A ISTIO_GOTO_NOWHERE -g ISTIO_NOWHERE\n" +
		"-A ISTIO_SOME -s 10.0.0.1/32 -j RETURN\n-A ISTIO_SOME -j ACCEPT\n" +
		"-A ISTIO_SOME_BY_GOTO -s 10.0.0.1/32 -g ISTIO_B\n-A ISTIO_SOME_BY_GOTO -j ACCEPT\n" +
		"-A ISTIO_NONE " + flip + "\n-A ISTIO_NONE -j ACCEPT\nCOMMIT\n"
	tables, err := iptables.ParseSave(iptables.IPv4, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return iptables.Ruleset{Tables: tables}
}

// linesOf returns the rules of ISTIO_A and what it was split into.
func linesOf(rs iptables.Ruleset) []string {
	var lines []string
	for _, c := range rs.Tables[0].Chains {
		for _, r := range c.Rules {
			if name, ok := strings.CutPrefix(c.Name, "ISTIO_A"); ok {
				lines = append(lines, strings.TrimPrefix(name+" "+r.String(), " "))
			}
		}
	}
	return lines
}

func TestSets(t *testing.T) {
	for name, test := range map[string]struct{ plan, want []string }{
		"ports of two protocols in turn": {
			[]string{"-p tcp -m tcp --dport 80 -j RETURN", "-p udp -m udp --dport 80 -j RETURN",
				"-p tcp -m tcp --dport 90:95 -j RETURN", "-p udp -m udp --dport 81 -j RETURN"},
			[]string{"-p tcp --dport {80,90:95} -j RETURN", "-p udp -m udp --dport 80:81 -j RETURN"},
		},
		"prefixes that overlap and touch": {
			[]string{"-d 10.0.0.0/9 -j RETURN", "-d 10.128.0.0/9 -j RETURN", "-d 10.1.0.0/16 -j RETURN", "-d 192.168.0.1/32 -j RETURN"},
			[]string{"-d {10.0.0.0/8,192.168.0.1/32} -j RETURN"},
		},
		"both halves of all addresses": {
			[]string{"-d 0.0.0.0/1 -p tcp -j RETURN", "-d 128.0.0.0/1 -p tcp -j RETURN", "-j ISTIO_B"},
			[]string{"-p tcp -j RETURN", "-j ISTIO_B"},
		},
		"wildcards that touch": {
			[]string{"-o veth1+ -j RETURN", "-o veth0+ -j RETURN", "-o veth0a -j RETURN", "-j ISTIO_B"},
			[]string{"-o {veth0+,veth1+} -j RETURN", "-j ISTIO_B"},
		},
		"every interface": {
			[]string{"-o eth0 -p tcp -j RETURN", "-o + -p tcp -j RETURN", "-j ISTIO_B"},
			[]string{"-p tcp -j RETURN", "-j ISTIO_B"},
		},
		"another target between": {
			[]string{"-d 10.0.0.1/32 -j RETURN", "-d 10.0.0.0/24 -j ISTIO_B", "-d 10.0.0.2/32 -j RETURN"},
			[]string{"-d 10.0.0.1/32 -j RETURN", "-d 10.0.0.0/24 -j ISTIO_B", "-d 10.0.0.2/32 -j RETURN"},
		},
		"another target between, of other packets": {
			[]string{"-d 10.0.0.1/32 -j RETURN", "-d 10.0.1.0/24 -j ISTIO_B", "-d 10.0.0.2/32 -j RETURN"},
			[]string{"-d {10.0.0.1-10.0.0.2} -j RETURN", "-d 10.0.1.0/24 -j ISTIO_B"},
		},
		"the same target between": {
			[]string{"-d 10.0.0.1/32 -j RETURN", "-p tcp -j RETURN", "-d 10.0.0.3/32 -j RETURN"},
			[]string{"-d {10.0.0.1/32,10.0.0.3/32} -j RETURN", "-p tcp -j RETURN"},
		},
		"not from the proxy, then from it": {
			[]string{"-o lo -m owner ! --uid-owner 1 -j RETURN", "-m owner --uid-owner 1 -j RETURN", "-j ISTIO_B"},
			[]string{"-o lo -j RETURN", "-m owner --uid-owner 1 -j RETURN", "-j ISTIO_B"},
		},
		"from no group of a list": {
			[]string{"-m owner ! --gid-owner 1 -m owner ! --gid-owner 3 -j RETURN", "-j ISTIO_B"},
			[]string{"--gid-owner {1,3} -g ISTIO_A_2", "-j RETURN", "_2 -j ISTIO_B"},
		},
		"not from a user, on one interface": {
			[]string{"-o lo -m owner ! --uid-owner 1 -j RETURN", "-j ISTIO_B"},
			[]string{"-o lo -g ISTIO_A_2", "-g ISTIO_A_3", "_2 -m owner --uid-owner 1 -g ISTIO_A_3", "_2 -j RETURN", "_3 -j ISTIO_B"},
		},
		"a list of one field, then of another": {
			[]string{"-s 10.0.0.1/32 -d 10.1.0.1/32 -j RETURN", "-s 10.0.0.1/32 -d 10.1.0.3/32 -j RETURN", "-s 10.0.0.3/32 -d 10.1.0.1/32 -j RETURN"},
			[]string{"-s 10.0.0.1/32 -d {10.1.0.1/32,10.1.0.3/32} -j RETURN", "-s 10.0.0.3/32 -d 10.1.0.1/32 -j RETURN"},
		},
		"to flip each once": {
			[]string{"-d 10.0.0.0/24 " + flip, "-d 10.0.1.0/24 " + flip},
			[]string{"-d 10.0.0.0/23 " + flip},
		},
		"not from the proxy, then from it, to flip": {
			[]string{"-o lo -m owner ! --uid-owner 1 " + flip, "-m owner --uid-owner 1 " + flip},
			[]string{"-o lo -g ISTIO_A_2", "-g ISTIO_A_3", "_2 -m owner --uid-owner 1 -g ISTIO_A_3", "_2 " + flip, "_2 -g ISTIO_A_3",
				"_3 -m owner --uid-owner 1 " + flip},
		},
		"not from the proxy, then from it, with another target between": {
			[]string{"-o lo -m owner ! --uid-owner 1 -j RETURN", "-p tcp -j ISTIO_B", "-m owner --uid-owner 1 -j RETURN"},
			[]string{"-o lo -g ISTIO_A_2", "-g ISTIO_A_3", "_2 -m owner --uid-owner 1 -g ISTIO_A_3", "_2 -j RETURN",
				"_3 -p tcp -j ISTIO_B", "_3 -m owner --uid-owner 1 -j RETURN"},
		},
		"what is decided before, with a mark that does not matter": {
			[]string{"-o lo -j RETURN", flip, "-o lo -p tcp -j ISTIO_B"},
			[]string{"-o lo -j RETURN", flip},
		},
		"what a chain decides about all": {
			[]string{"-o lo -j ISTIO_NONE", "-o lo -p tcp -j ISTIO_B", "-j ISTIO_B"},
			[]string{"-o lo -j ISTIO_NONE", "-j ISTIO_B"},
		},
		"what a chain does to all": {
			[]string{"-d 10.0.0.1/32 -j ISTIO_NONE", "-p tcp -j ISTIO_NONE", "-d 10.0.0.3/32 -j ISTIO_NONE"},
			[]string{"-d {10.0.0.1/32,10.0.0.3/32} -j ISTIO_NONE", "-p tcp -j ISTIO_NONE"},
		},
		"what a chain does that some return from": {
			[]string{"-d 10.0.0.0/8 -j ISTIO_SOME", "-d 10.1.0.0/16 -j ISTIO_SOME"},
			[]string{"-d 10.0.0.0/8 -j ISTIO_SOME"},
		},
		"what is decided before": {
			[]string{"-o lo -j RETURN", "-o lo -p tcp -j ISTIO_B", "-j ISTIO_B"},
			[]string{"-o lo -j RETURN", "-j ISTIO_B"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, linesOf(compact.Sets(parse(t, test.plan...)))); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
		})
	}
}

// Each of these rules would be merged, moved or left out wrongly but for one
// condition. A jump that leads nowhere or in a circle is for Validate to refuse.
func TestSetsLeaveAlone(t *testing.T) {
	for name, plan := range map[string][]string{
		"to flip twice":                 {"-d 10.0.0.0/8 " + flip, "-d 10.1.0.0/16 " + flip},
		"to flip twice by a chain":      {"-d 10.0.0.0/8 -j ISTIO_FLIP", "-d 10.1.0.0/16 -j ISTIO_FLIP"},
		"to flip twice by its goto":     {"-d 10.0.0.0/8 -j ISTIO_GOTO_FLIP", "-d 10.1.0.0/16 -j ISTIO_GOTO_FLIP"},
		"to flip, if marked, in turn":   {"-d 10.0.0.1/32 " + flip, "-m mark --mark 0x1 " + flip, "-d 10.0.0.2/32 " + flip},
		"a mark that is set between":    {"-m mark --mark 0x1 -j RETURN", flip, "-p tcp -m mark --mark 0x1 -j ISTIO_B"},
		"what is not tcp, between":      {"-d 10.0.0.1/32 -p udp -j RETURN", "! -p tcp -j ISTIO_B", "-d 10.0.0.2/32 -p udp -j RETURN"},
		"the same exception between":    {"! -s 10.0.0.9/32 -d 10.0.0.1/32 -j RETURN", "! -s 10.0.0.9/32 -j ISTIO_FLIP", "! -s 10.0.0.9/32 -d 10.0.0.2/32 -j RETURN"},
		"two exceptions":                {"! -d 10.0.0.1/32 -p tcp -j RETURN", "! -d 10.0.0.2/32 -p tcp -j RETURN"},
		"other states":                  {"-m conntrack ! --ctstate NEW -j RETURN", "-p tcp -m conntrack --ctstate NEW -j ISTIO_B"},
		"a chain that is not there":     {"-d 10.0.0.0/8 -j ISTIO_GOTO_NOWHERE", "-d 10.1.0.0/16 -j ISTIO_GOTO_NOWHERE"},
		"a circle":                      {"-d 10.0.0.0/8 -j ISTIO_A", "-d 10.1.0.0/16 -j ISTIO_A"},
		"a chain that some return from": {"-j ISTIO_SOME", "-p tcp -j ISTIO_B"},
		"a chain that some go on from":  {"-j ISTIO_SOME_BY_GOTO", "-p tcp -j ISTIO_B"},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(plan, linesOf(compact.Sets(parse(t, plan...)))); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
		})
	}
}

// A rule that no packet reaches stays where nothing else of its chain tells what it
// comes from.
func TestSetsTellEveryOption(t *testing.T) {
	rs := parse(t, "-d 10.0.0.0/8 -j RETURN", "-j RETURN", "-p tcp -j ISTIO_B", "-p udp -j ISTIO_B",
		"-d 10.1.0.0/16 -j ISTIO_B", "-s 10.1.0.0/16 -j ISTIO_B", "-s 10.2.0.0/16 -d 10.1.0.1/32 -j ISTIO_B")
	rules := rs.Tables[0].Chain("ISTIO_A").Rules
	for i, origin := range []string{"--a=1,2", "--b", "--c", "--c", "--a=2", "--a=2,3", "--b"} {
		rules[i].Origin, _ = iptables.ParseOrigin(origin)
	}
	want := []string{"-d 10.0.0.0/8 -j RETURN", "-j RETURN", "-p tcp -j ISTIO_B", "-p udp -j ISTIO_B", "-s 10.1.0.0/16 -j ISTIO_B"}
	if diff := cmp.Diff(want, linesOf(compact.Sets(rs))); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}

// Up to the threshold nothing changes; beyond it a rule takes 15 ports.
func TestMultiport(t *testing.T) {
	rules := func(n int) []string {
		lines := []string{"-d 127.0.0.1/32 -j RETURN"}
		for i := range n {
			lines = append(lines, fmt.Sprintf("-p tcp -m tcp --dport %d -j RETURN", 2*i+1))
		}
		return append(lines, "-j ISTIO_B")
	}
	if got := linesOf(compact.Multiport(parse(t, rules(compact.LongList)...))); !cmp.Equal(got, rules(compact.LongList)) {
		t.Errorf("a short list has become %q", got)
	}
	got := linesOf(compact.Multiport(parse(t, rules(46)...)))
	want := []string{
		"-d 127.0.0.1/32 -j RETURN",
		"-p tcp -m multiport --dports 1,3,5,7,9,11,13,15,17,19,21,23,25,27,29 -j RETURN",
		"-p tcp -m multiport --dports 31,33,35,37,39,41,43,45,47,49,51,53,55,57,59 -j RETURN",
		"-p tcp -m multiport --dports 61,63,65,67,69,71,73,75,77,79,81,83,85,87,89 -j RETURN",
		"-p tcp -m tcp --dport 91 -j RETURN",
		"-j ISTIO_B",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}
