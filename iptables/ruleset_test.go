package iptables

import (
	"strings"
	"testing"
)

// owned tells what is ours in these tests.
var owned = Ownership{Chains: []string{"ISTIO_"}}

func parse(t *testing.T, text string) Ruleset {
	t.Helper()
	tables, err := ParseSave(IPv4, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return Ruleset{Tables: tables}
}

func TestOwnTakesChainsAndJumps(t *testing.T) {
	rs := parse(t, `*filter
:INPUT DROP [0:0]
-A INPUT -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [3:4]
:OUTPUT ACCEPT [0:0]
:ISTIO_INBOUND - [0:0]
:ISTIO_EMPTY - [0:0]
:ISTIOLOGY - [0:0]
-A PREROUTING -p tcp -j ACCEPT
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A OUTPUT -j ISTIOLOGY
-A ISTIO_INBOUND -p tcp -j ISTIOLOGY
-A ISTIOLOGY -g ISTIO_INBOUND
COMMIT
`)
	want := `*nat
:PREROUTING - [0:0]
:ISTIOLOGY - [0:0]
:ISTIO_EMPTY - [0:0]
:ISTIO_INBOUND - [0:0]
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A ISTIOLOGY -g ISTIO_INBOUND
-A ISTIO_INBOUND -p tcp -j ISTIOLOGY
COMMIT
`
	own := owned.Of(rs)
	if got := own.Save(IPv4); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestEqualSeesEveryDifference(t *testing.T) {
	const text = `*nat
:OUTPUT ACCEPT [0:0]
:A - [0:0]
:B - [0:0]
-A A -p tcp -m tcp --dport 1 -j RETURN
-A A -p tcp -m tcp --dport 2 -j RETURN
COMMIT
`
	for name, test := range map[string]struct {
		change []string
		want   bool
	}{
		"nothing":         {nil, true},
		"chain order":     {[]string{":A - [0:0]\n:B - [0:0]\n", ":B - [0:0]\n:A - [0:0]\n"}, true},
		"counters":        {[]string{"-A A -p tcp -m tcp --dport 1", "[9:9] -A A -p tcp -m tcp --dport 1"}, true},
		"policy counters": {[]string{"ACCEPT [0:0]", "ACCEPT [1:1]"}, true},
		"policy":          {[]string{"ACCEPT", "DROP"}, false},
		"rule order":      {[]string{"--dport 1 -j", "--dport 3 -j", "--dport 2 -j", "--dport 1 -j", "--dport 3 -j", "--dport 2 -j"}, false},
		"rule gone":       {[]string{"-A A -p tcp -m tcp --dport 2 -j RETURN\n", ""}, false},
		"rule doubled":    {[]string{"COMMIT", "-A A -p tcp -m tcp --dport 2 -j RETURN\nCOMMIT"}, false},
		"target":          {[]string{"--dport 2 -j RETURN", "--dport 2 -j ACCEPT"}, false},
		"chain gone":      {[]string{":B - [0:0]\n", ""}, false},
		"chain renamed":   {[]string{":B - [0:0]\n", ":C - [0:0]\n"}, false},
		"other table":     {[]string{"*nat", "*raw"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			changed := text
			for i := 0; i < len(test.change); i += 2 {
				changed = strings.Replace(changed, test.change[i], test.change[i+1], 1)
			}
			if test.change != nil && changed == text {
				t.Fatal("the change changes nothing")
			}
			a, b := parse(t, text), parse(t, changed)
			if a.Equal(&b) != test.want || b.Equal(&a) != test.want {
				t.Errorf("Equal is not %v", test.want)
			}
		})
	}
}

func TestSortIsTheOrderOfSave(t *testing.T) {
	for name, text := range savedFiles(t) {
		if !strings.Contains(name, "nft") || familyOfFile(name) != IPv4 {
			continue
		}
		rs := parse(t, text)
		want := rs.Save(IPv4)
		for i, j := 0, len(rs.Tables)-1; i < j; i, j = i+1, j-1 {
			rs.Tables[i], rs.Tables[j] = rs.Tables[j], rs.Tables[i]
		}
		for _, table := range rs.Tables {
			for i, j := 0, len(table.Chains)-1; i < j; i, j = i+1, j-1 {
				table.Chains[i], table.Chains[j] = table.Chains[j], table.Chains[i]
			}
		}
		rs.Sort()
		// Rules follow their chains.
		if got := rs.Save(IPv4); got != want {
			t.Errorf("%s: got:\n%s\nwant:\n%s", name, got, want)
		}
	}
}

func TestPortRange(t *testing.T) {
	for in, want := range map[string]string{
		"80": "80", "8000-8010": "8000:8010", "8000:8010": "8000:8010", "7:7": "7", "0:65535": "0:65535",
		"": "", "http": "", "80:": "", ":80": "", "9-8": "", "65536": "", "-1": "", "1-2-3": "", "+5": "",
	} {
		got, err := ParsePortRange(in)
		if (err == nil) != (want != "") || err == nil && got.String() != want {
			t.Errorf("%q: got %v, %v", in, got, err)
		}
	}
}
