package diff_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/diff"
)

// chains reads "A:1,2 B:" as chain A with rules 1 and 2, and chain B without any.
func chains(text string) []diff.Chain[string] {
	var all []diff.Chain[string]
	for word := range strings.FieldsSeq(text) {
		name, rules, _ := strings.Cut(word, ":")
		c := diff.Chain[string]{Name: name}
		if rules != "" {
			c.Rules = strings.Split(rules, ",")
		}
		all = append(all, c)
	}
	return all
}

// What is as wanted is kept; every other chain is replaced as a whole.
func TestChains(t *testing.T) {
	t.Parallel()
	type change = diff.Change[string, string]
	for _, test := range []struct {
		name, have, want string
		changes          []change
	}{
		{"nothing", "", "", nil},
		{"as wanted", "A:1,2 B:", "B: A:1,2", nil},
		{"a rule more", "A:1 B:1", "A:1,2 B:1", []change{{Chain: "A", Delete: []string{"1"}, Insert: []string{"1", "2"}}}},
		{"a rule less", "A:1,2", "A:1", []change{{Chain: "A", Delete: []string{"1", "2"}, Insert: []string{"1"}}}},
		{"another order", "A:1,2", "A:2,1", []change{{Chain: "A", Delete: []string{"1", "2"}, Insert: []string{"2", "1"}}}},
		{"all rules go", "A:1", "A:", []change{{Chain: "A", Delete: []string{"1"}}}},
		{"rules come", "A:", "A:1", []change{{Chain: "A", Insert: []string{"1"}}}},
		{"a chain comes", "A:1", "B:1 A:1", []change{{Chain: "B", Make: true, Insert: []string{"1"}}}},
		{"an empty chain comes", "", "A:", []change{{Chain: "A", Make: true}}},
		{"an empty chain goes", "A:", "", []change{{Chain: "A", Remove: true}}},
		{"order", "A:1 B:1 C:1 D:1", "E:1 C:2 A:1", []change{
			{Chain: "E", Make: true, Insert: []string{"1"}},
			{Chain: "C", Delete: []string{"1"}, Insert: []string{"2"}},
			{Chain: "B", Remove: true, Delete: []string{"1"}},
			{Chain: "D", Remove: true, Delete: []string{"1"}},
		}},
	} {
		got := diff.Chains(chains(test.have), chains(test.want), func(a, b string) bool { return a == b })
		if d := cmp.Diff(test.changes, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, d)
		}
	}
}

// Of built-in chains only the jumps to ours are compared, and of chains of others.
// Every table is there that either side has in the family, in canonical order.
func TestTables(t *testing.T) {
	t.Parallel()
	have := parse(t, `*raw
:OUTPUT ACCEPT
-A OUTPUT -j NOTRACK
COMMIT
*nat
:PREROUTING ACCEPT
:OUTPUT DROP
:OTHER - [0:0]
:ISTIO_A - [0:0]
-A PREROUTING -j ISTIO_A
-A OUTPUT -j OTHER
-A OUTPUT -j ISTIO_A
-A OUTPUT -p udp -j ACCEPT
-A OTHER -j ISTIO_A
-A ISTIO_A -j RETURN
COMMIT
`)
	want := parse(t, `*mangle
:OUTPUT ACCEPT
:ISTIO_B - [0:0]
-A OUTPUT -j ISTIO_B
COMMIT
*nat
:OUTPUT ACCEPT
:ISTIO_A - [0:0]
-A OUTPUT -j ISTIO_A
-A ISTIO_A -j RETURN
COMMIT
`)
	want.Tables = append(want.Tables, iptables.NewTable(iptables.IPv6, iptables.Nat))
	var got []string
	for _, table := range diff.Tables(sidecar.Ownership(), &have, &want, iptables.IPv4) {
		got = append(got, "*"+table.Name)
		for _, c := range table.Changes {
			switch {
			case c.Make:
				got = append(got, "make "+c.Chain)
			case c.Remove:
				got = append(got, "remove "+c.Chain)
			}
			for _, r := range c.Delete {
				got = append(got, "- "+c.Chain+" "+r.String())
			}
			for _, r := range c.Insert {
				got = append(got, "+ "+c.Chain+" "+r.String())
			}
		}
	}
	lines := []string{
		"*mangle", "make OUTPUT", "+ OUTPUT -j ISTIO_B", "make ISTIO_B",
		"*raw",
		"*nat", "remove PREROUTING", "- PREROUTING -j ISTIO_A", "remove OTHER", "- OTHER -j ISTIO_A",
	}
	if d := cmp.Diff(lines, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func parse(t *testing.T, save string) iptables.Ruleset {
	t.Helper()
	tables, err := iptables.ParseSave(iptables.IPv4, strings.NewReader(save))
	if err != nil {
		t.Fatal(err)
	}
	return iptables.Ruleset{Tables: tables}
}
