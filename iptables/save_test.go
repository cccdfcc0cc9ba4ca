package iptables

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// savedFiles returns what the four save programs printed of tables that hold
// every form of every match and target, and foreign rules beside them.
func savedFiles(t testing.TB) map[string]string {
	t.Helper()
	names, err := filepath.Glob("testdata/save/*.txt")
	if err != nil || len(names) != 4 {
		t.Fatalf("found %d recorded texts (%v), want 4", len(names), err)
	}
	files := make(map[string]string)
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(name)] = string(text)
	}
	return files
}

func familyOfFile(name string) Family {
	if strings.HasPrefix(name, "ip6") {
		return IPv6
	}
	return IPv4
}

var commentsAndCounters = regexp.MustCompile(`(?m)^#.*\n|^\[\d+:\d+\] `)

func TestSaveTextSurvivesParsing(t *testing.T) {
	for name, text := range savedFiles(t) {
		t.Run(name, func(t *testing.T) {
			family := familyOfFile(name)
			tables, err := ParseSave(family, strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			rs := Ruleset{Tables: tables}
			want := commentsAndCounters.ReplaceAllString(text, "")
			if got := rs.Save(family); got != want {
				t.Errorf("printed:\n%s\nread:\n%s", got, want)
			}
		})
	}
}

// TestParserKnowsOwnForms guards the test above against a parser that keeps
// everything as unknown words.
func TestParserKnowsOwnForms(t *testing.T) {
	foreign := regexp.MustCompile(`icmp-type|-f |NOTRACK|MASQUERADE|--tcp-flags`)
	for name, text := range savedFiles(t) {
		tables, err := ParseSave(familyOfFile(name), strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range tables {
			for _, chain := range table.Chains {
				for _, rule := range chain.Rules {
					if known := isKnown(rule); known == foreign.MatchString(rule.String()) {
						t.Errorf("%s: known is %v for %s", name, known, rule)
					}
				}
			}
		}
	}
}

func isKnown(r Rule) bool {
	for _, m := range r.Matches {
		if _, unknown := m.(UnknownMatch); unknown {
			return false
		}
	}
	_, unknown := r.Target.(UnknownTarget)
	return !unknown
}

func TestParseReadsCounters(t *testing.T) {
	tables, err := ParseSave(IPv4, strings.NewReader("*nat\n:OUTPUT ACCEPT [5:300]\n[7:420] -A OUTPUT -j ACCEPT\nCOMMIT\n"))
	if err != nil {
		t.Fatal(err)
	}
	chain := tables[0].Chain(Output)
	if chain.Counters != (Counters{Packets: 5, Bytes: 300}) || chain.Rules[0].Counters != (Counters{Packets: 7, Bytes: 420}) {
		t.Errorf("chain %v, rule %v", chain.Counters, chain.Rules[0].Counters)
	}
}

func TestParseErrors(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"rule outside":      {"-A OUTPUT\n", "line 1: outside of a table"},
		"no commit":         {"*nat\n", "table nat: no COMMIT at its end"},
		"nested table":      {"*nat\n*raw\n", "line 2: table nat has no COMMIT"},
		"table twice":       {"*nat\nCOMMIT\n*nat\n", "line 3: second table nat"},
		"chain twice":       {"*nat\n:A -\n:A -\n", "line 3: second chain A"},
		"undeclared chain":  {"*nat\n-A OUTPUT\n", "line 2: chain OUTPUT is not declared"},
		"open quote":        {"*nat\n:A -\n-A A -m comment --comment \"x\n", "line 3: a quote is not closed"},
		"family mix":        {"*nat\n:A -\n-A A -d fd00::/8\n", "line 3: -d fd00::/8: not an IPv4 address"},
		"no address":        {"*nat\n:A -\n-A A -d here\n", "line 3: -d here: not an address or a prefix"},
		"missing value":     {"*nat\n:A -\n-A A -s\n", "line 3: nothing follows -s"},
		"double negation":   {"*nat\n:A -\n-A A ! ! -s 1.2.3.4\n", "line 3: there are two ! in a row"},
		"negated target":    {"*nat\n:A -\n-A A ! -j DROP\n", "line 3: ! cannot negate -j"},
		"dangling negation": {"*nat\n:A -\n-A A !\n", "line 3: the rule ends in ! with nothing after it"},
		"no counters":       {"*nat\n:A - [x]\n", `line 2: "[x]" is not a pair of counters`},
		"not save text":     {"*nat\nhello\n", `line 2: "hello" is neither a chain nor a rule`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseSave(IPv4, strings.NewReader(test.text))
			if err == nil || !strings.HasSuffix(err.Error(), test.want) {
				t.Errorf("got %v, want ...%s", err, test.want)
			}
		})
	}
}

func FuzzParseSave(f *testing.F) {
	for _, text := range savedFiles(f) {
		f.Add(text)
	}
	f.Add("*nat\n:A - [0:0]\n-A A ! -s 0.0.0.0/0 -m owner ! --gid-owner 0-4294967295 -j MARK --set-xmark 0x0/0x0\nCOMMIT\n")
	f.Fuzz(func(t *testing.T, text string) {
		tables, err := ParseSave(IPv4, strings.NewReader(text))
		if err != nil {
			return
		}
		first := Ruleset{Tables: tables}
		printed := first.Save(IPv4)
		tables, err = ParseSave(IPv4, strings.NewReader(printed))
		if err != nil {
			t.Fatalf("does not read what it printed: %v\n%s", err, printed)
		}
		second := Ruleset{Tables: tables}
		if !first.Equal(&second) || second.Save(IPv4) != printed {
			t.Fatalf("changed by printing:\n%s\n%s", printed, second.Save(IPv4))
		}
	})
}
