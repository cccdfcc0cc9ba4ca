package verify_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/verify"
)

// owned tells what is ours in these tests.
var owned = sidecar.Ownership()

const wanted = `*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:ISTIO_INBOUND - [0:0]
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A ISTIO_INBOUND -p tcp -m tcp --dport 1 -j RETURN
-A ISTIO_INBOUND -p tcp -m tcp --dport 2 -j RETURN
-A ISTIO_INBOUND -p tcp -m tcp --dport 3 -j RETURN
COMMIT
`

func parse(t *testing.T, text string) *iptables.Ruleset {
	t.Helper()
	tables, err := iptables.ParseSave(iptables.IPv4, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return &iptables.Ruleset{Tables: tables}
}

// Every kind of drift is seen, at its place; what is foreign is none.
func TestRules(t *testing.T) {
	for name, test := range map[string]struct {
		change []string // pairs of old and new
		want   string
	}{
		"nothing":  {nil, ""},
		"counters": {[]string{"-A PREROUTING", "[7:8] -A PREROUTING"}, ""},
		"gone": {[]string{"-A ISTIO_INBOUND -p tcp -m tcp --dport 2 -j RETURN\n", ""},
			"nat ISTIO_INBOUND + 2: -p tcp -m tcp --dport 2 -j RETURN"},
		"added": {[]string{"-A ISTIO_INBOUND -p tcp -m tcp --dport 2", "-A ISTIO_INBOUND -j DROP\n-A ISTIO_INBOUND -p tcp -m tcp --dport 2"},
			"nat ISTIO_INBOUND - 2: -j DROP"},
		"changed": {[]string{"--dport 2 -j RETURN", "--dport 2 -j ACCEPT"},
			"nat ISTIO_INBOUND - 2: -p tcp -m tcp --dport 2 -j ACCEPT\nnat ISTIO_INBOUND + 2: -p tcp -m tcp --dport 2 -j RETURN"},
		"moved": {[]string{"--dport 1 ", "--dport x ", "--dport 3 ", "--dport 1 ", "--dport x ", "--dport 3 "},
			"nat ISTIO_INBOUND + 1: -p tcp -m tcp --dport 1 -j RETURN\n" +
				"nat ISTIO_INBOUND + 2: -p tcp -m tcp --dport 2 -j RETURN\n" +
				"nat ISTIO_INBOUND - 2: -p tcp -m tcp --dport 2 -j RETURN\n" +
				"nat ISTIO_INBOUND - 3: -p tcp -m tcp --dport 1 -j RETURN"},
		"jump gone": {[]string{"-A PREROUTING -p tcp -j ISTIO_INBOUND\n", ""},
			"nat PREROUTING + 1: -p tcp -j ISTIO_INBOUND"},
		"jump doubled": {[]string{"-A ISTIO_INBOUND -p tcp -m tcp --dport 1", "-A PREROUTING -p tcp -j ISTIO_INBOUND\n-A ISTIO_INBOUND -p tcp -m tcp --dport 1"},
			"nat PREROUTING - 1: -p tcp -j ISTIO_INBOUND"},
		"jump narrowed behind a foreign rule": {[]string{"-A PREROUTING -p tcp -j", "-A PREROUTING -p udp -j ACCEPT\n-A PREROUTING -p tcp -m tcp --dport 9 -j"},
			"nat PREROUTING - 2: -p tcp -m tcp --dport 9 -j ISTIO_INBOUND\nnat PREROUTING + 1: -p tcp -j ISTIO_INBOUND"},
		"another jump": {[]string{"COMMIT", "-A OUTPUT -j ISTIO_INBOUND\nCOMMIT"},
			"nat OUTPUT - 1: -j ISTIO_INBOUND"},
		"chain gone": {[]string{wanted, ""},
			"nat PREROUTING + 1: -p tcp -j ISTIO_INBOUND\n" +
				"nat ISTIO_INBOUND + the chain itself\n" +
				"nat ISTIO_INBOUND + 1: -p tcp -m tcp --dport 1 -j RETURN\n" +
				"nat ISTIO_INBOUND + 2: -p tcp -m tcp --dport 2 -j RETURN\n" +
				"nat ISTIO_INBOUND + 3: -p tcp -m tcp --dport 3 -j RETURN"},
		"another chain": {[]string{":ISTIO_INBOUND", ":ISTIO_X - [0:0]\n:ISTIO_INBOUND"}, "nat ISTIO_X - the chain itself"},
		"another table": {[]string{"*nat", "*raw\n:ISTIO_X - [0:0]\nCOMMIT\n*nat"}, "raw ISTIO_X - the chain itself"},
		"foreign": {[]string{":ISTIO_INBOUND", ":ISTIOLOGY - [0:0]\n:ISTIO_INBOUND",
			"-A PREROUTING", "-A PREROUTING -p tcp -m tcp --dport 9 -j ISTIOLOGY\n-A ISTIOLOGY -j ACCEPT\n-A PREROUTING"}, ""},
		"commented": {[]string{"--dport 2 -j", "--dport 2 -m comment --comment \"--excluded-ports=2\" -j"},
			"nat ISTIO_INBOUND - 2: -p tcp -m tcp --dport 2 -m comment --comment \"--excluded-ports=2\" -j RETURN\n" +
				"nat ISTIO_INBOUND + 2: -p tcp -m tcp --dport 2 -j RETURN"},
	} {
		t.Run(name, func(t *testing.T) {
			text := wanted
			for i := 0; i < len(test.change); i += 2 {
				if !strings.Contains(text, test.change[i]) {
					t.Fatalf("there is no %q", test.change[i])
				}
				text = strings.Replace(text, test.change[i], test.change[i+1], 1)
			}
			var got []string
			for _, d := range verify.Rules(parse(t, wanted), installed.Alone(*parse(t, text), owned)) {
				got = append(got, d.Table+" "+d.Chain+" "+d.String())
			}
			if diff := cmp.Diff(test.want, strings.Join(got, "\n")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOriginIsTold(t *testing.T) {
	want := parse(t, wanted)
	chain := want.Tables[0].Chain("ISTIO_INBOUND")
	chain.Rules[1].Origin = iptables.Origin{Option: "--excluded-ports", Value: "2"}
	got := verify.Rules(want, installed.Alone(*parse(t, strings.Replace(wanted, "--dport 2", "--dport 4", 1)), owned))
	if len(got) != 2 || got[1].String() != "+ 2: -p tcp -m tcp --dport 2 -j RETURN  # --excluded-ports=2" {
		t.Errorf("got %v", got)
	}
}

// Of a set that is too long to be printed, it is told what differs in it.
func TestLongSets(t *testing.T) {
	t.Parallel()
	with := func(not bool, ports ...uint16) *iptables.Ruleset {
		rs := parse(t, wanted)
		var all []iptables.Interval
		for _, p := range ports {
			all = append(all, iptables.PortInterval(iptables.Port(p)))
		}
		r := &rs.Tables[0].Chain("ISTIO_INBOUND").Rules[1]
		r.Matches = []iptables.Match{iptables.NewSet(iptables.DestinationPort, not, all)}
		return rs
	}
	ten := []uint16{1, 3, 5, 7, 9, 11, 13, 15, 17, 19}
	const listed = "-p tcp --dport {1,3,5,7,9,11,13,15,... (10 values)} -j RETURN"
	for name, test := range map[string]struct {
		installed *iptables.Ruleset
		want      []string
	}{
		"other values":     {with(false, 1, 3, 5, 7, 9, 11, 13, 15, 17, 21), []string{"- 2: " + listed, "+ 2: " + listed + "\n      --dport 19 not installed\n      --dport 21 not wanted"}},
		"a few":            {with(false, 1, 3), []string{"- 2: -p tcp --dport {1,3} -j RETURN", "+ 2: " + listed + "\n      --dport 5,7,9,11,13,15,17,19 not installed"}},
		"the other values": {with(true, ten...), []string{"- 2: -p tcp ! --dport {1,3,5,7,9,11,13,15,... (10 values)} -j RETURN", "+ 2: " + listed}},
	} {
		var got []string
		for _, d := range verify.Rules(with(false, ten...), installed.Alone(*test.installed, owned)) {
			got = append(got, d.String())
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// A rule in the place of another is told as one change.
func TestWords(t *testing.T) {
	t.Parallel()
	for change, want := range map[string]string{
		"--dport 2 -j RETURN|--dport 2 -j ACCEPT":         "rule 2 of nat ISTIO_INBOUND is changed: -p tcp -m tcp --dport 2 -j ACCEPT instead of -p tcp -m tcp --dport 2 -j RETURN",
		"-A PREROUTING -p tcp -j ISTIO_INBOUND\n|":        "rule 1 of nat PREROUTING is missing: -p tcp -j ISTIO_INBOUND",
		"COMMIT|-A OUTPUT -j ISTIO_INBOUND\nCOMMIT":       "rule 1 of nat OUTPUT is too much: -j ISTIO_INBOUND",
		":ISTIO_INBOUND|:ISTIO_X - [0:0]\n:ISTIO_INBOUND": "chain ISTIO_X of table nat is too much",
	} {
		from, to, _ := strings.Cut(change, "|")
		var got []string
		for _, d := range verify.Pair(verify.Rules(parse(t, wanted), installed.Alone(*parse(t, strings.Replace(wanted, from, to, 1)), owned))) {
			got = append(got, d.Words())
		}
		if diff := cmp.Diff(want, strings.Join(got, "\n")); diff != "" {
			t.Errorf("%q: %s", change, diff)
		}
	}
}

func TestCommentsOnly(t *testing.T) {
	t.Parallel()
	const rule, commented = "--dport 2 -j", "--dport 2 -m comment --comment \"by hand\" -j"
	for name, test := range map[string]struct {
		installed string
		want      bool
	}{
		"nothing":            {wanted, false},
		"a comment":          {strings.Replace(wanted, rule, commented, 1), true},
		"a comment and more": {strings.Replace(wanted, rule, commented+" ACCEPT\n-A ISTIO_INBOUND -j", 1), false},
		"a rule":             {strings.Replace(wanted, rule, "--dport 4 -j", 1), false},
		"a foreign rule too": {
			strings.NewReplacer(rule, commented, "-A PREROUTING", "-A PREROUTING -j ACCEPT\n-A PREROUTING").Replace(wanted), true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := verify.CommentsOnly(parse(t, wanted), installed.Alone(*parse(t, test.installed), owned)); got != test.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
