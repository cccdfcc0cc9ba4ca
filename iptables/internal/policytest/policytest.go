// Package policytest is what the tests of policies share: rules as they are read back, and what
// a policy says of them.
package policytest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/installed"
)

// RecognisedInEveryForm fails unless the policy finds options in the rules of wanted, as each form
// stores them, that make the same rules.
func RecognisedInEveryForm(t *testing.T, p capture.Policy, wanted capture.Wanted, h host.Host) {
	t.Helper()
	plan := wanted.Plan(h).Rules
	commented := plan
	commented.Comments = true
	for name, test := range map[string]struct {
		written iptables.Ruleset
		form    func(iptables.Plan) iptables.Ruleset
	}{
		"iptables":               {WithoutOrigins(t, form.IPTables(plan)), form.IPTables},
		"iptables with comments": {WithoutOrigins(t, form.IPTables(commented)), form.IPTables},
		"native":                 {AsStored(form.Native(plan)), form.Native},
	} {
		found := p.Recognise(test.written, test.form)
		if found.Complete {
			continue
		}
		own, again := p.Ownership(), test.form(found.Wanted.Plan(found.Host).Rules)
		t.Errorf("%s: not recognised as complete\ngiven %q\nfound %q\nwritten (-), of the options found (+):\n%s", name,
			wanted.Arguments(), found.Wanted.Arguments(), cmp.Diff(texts(own.Of(own.ReadComments(test.written))), texts(own.Of(again))))
	}
}

// WithoutOrigins returns rules as iptables-save prints them and they are read again.
func WithoutOrigins(t *testing.T, rs iptables.Ruleset) iptables.Ruleset {
	t.Helper()
	var read iptables.Ruleset
	for _, f := range iptables.Families() {
		tables, err := iptables.ParseSave(f, strings.NewReader(rs.Save(f)))
		if err != nil {
			t.Fatal(err)
		}
		read.Tables = append(read.Tables, tables...)
	}
	return read
}

// stored is less than what there is room for beside a rule in the kernel, in bytes.
const stored = 100

// AsStored returns rules with their origins as far as there is room for them.
func AsStored(rs iptables.Ruleset) iptables.Ruleset {
	return rs.Map(func(_ *iptables.Chain, r iptables.Rule) iptables.Rule {
		r.Origin, _ = iptables.ParseOrigin(r.Origin.Comment(stored))
		return r
	})
}

// Describe returns the rules with their origins, a line each.
func Describe(rs iptables.Ruleset) []string {
	return linesOf(rs, func(r iptables.Rule) string { return r.String() + " # " + r.Origin.String() })
}

func texts(rs iptables.Ruleset) []string { return linesOf(rs, iptables.Rule.String) }

func linesOf(rs iptables.Ruleset, line func(iptables.Rule) string) []string {
	var lines []string
	for _, table := range rs.Tables {
		for _, chain := range table.Chains {
			for _, r := range chain.Rules {
				lines = append(lines, fmt.Sprintf("%s %s %s %s", table.Family, table.Name, chain.Name, line(r)))
			}
		}
	}
	return lines
}

// Question asks why rules do what they do with a packet.
func Question(p capture.Policy, rules iptables.Ruleset, packet iptables.Packet) explain.Question {
	path := installed.Alone(rules, p.Ownership())
	return explain.Question{Path: path, Packet: packet, Result: explain.WalkPath(path, packet), Policy: p}
}

// Reasons returns the reasons and the changes that they name, as one line.
func Reasons(p capture.Policy, rules iptables.Ruleset, packet iptables.Packet) string {
	var all []string
	for _, r := range explain.Reasons(Question(p, rules, packet)) {
		all = append(all, r.Why+" / "+r.Change)
	}
	return strings.Join(all, "; ")
}
