// Package record keeps what rules were asked for with in nf_tables, beside the rules of
// either form: in the table "inet meshtables_options", with a chain for each policy. The
// chains have no hook, so no packet meets them, and iptables does not look at tables of
// that family. A line of the record is the comment of a rule.
package record

import (
	"slices"

	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"golang.org/x/sys/unix"
)

var tableKey = tables.Key{Family: tables.Inet, Name: "meshtables_options"}

// Table is the table as the kernel has it. The zero value is no table. What the kernel
// lists is added: the table first, then chains, then rules.
type Table struct {
	// Policies name the chains that are ours. Without them there is no record.
	Policies []string

	found bool
	use   int
	// chains are the comments of the rules of our chains.
	chains map[string]installed.Record
}

// AddTable adds the table if it is this one, and reports whether it is.
func (t *Table) AddTable(read tables.Table) bool {
	if read.Key != tableKey || len(t.Policies) == 0 {
		return false
	}
	*t = Table{Policies: t.Policies, found: true, use: read.Use, chains: make(map[string]installed.Record)}
	return true
}

// AddChain adds a chain if it is ours.
func (t *Table) AddChain(p tables.Place, c tables.Chain) {
	if t.found && p.In(tableKey) && slices.Contains(t.Policies, c.Name) {
		t.chains[c.Name] = nil
	}
}

// AddRule adds a rule if its chain was added.
func (t *Table) AddRule(p tables.Place, r tables.Rule) {
	if !t.found || !p.In(tableKey) {
		return
	}
	if lines, ours := t.chains[string(p.Chain())]; ours {
		t.chains[string(p.Chain())] = append(lines, tables.ReadComment(r.Userdata))
	}
}

// Records returns the records. What is left of one counts as a changed one: a chain without
// rules, or the table without chains.
func (t *Table) Records() installed.Records {
	if !t.found || len(t.chains) == 0 && t.use > 0 {
		return nil
	}
	changed := installed.Record{""}
	if len(t.chains) == 0 {
		return installed.Records{t.Policies[0]: changed}
	}
	all := make(installed.Records)
	for policy, lines := range t.chains {
		if all[policy] = lines; len(lines) == 0 {
			all[policy] = changed
		}
	}
	return all
}

// Changes appends the changes from the records to want. Without records, and without those
// of policies that are not ours, there is no table.
func (t *Table) Changes(b *tables.Changes, want installed.Records) {
	have := t.Records()
	switch {
	case len(t.Policies) == 0 || have.Equal(want):
		return
	case len(want) == 0 && t.use == len(t.chains):
		b.DeleteTable(tableKey)
		return
	case !t.found:
		b.NewTable(tableKey)
	}
	for _, policy := range t.Policies {
		if !slices.Equal(have[policy], want[policy]) {
			t.write(b, policy, want[policy])
		}
	}
}

// write replaces the record of a policy.
func (t *Table) write(b *tables.Changes, policy string, want installed.Record) {
	_, exists := t.chains[policy]
	if exists {
		b.DeleteRules(tableKey, policy)
	}
	switch {
	case len(want) == 0 && exists:
		b.DeleteChain(tableKey, policy)
	case len(want) > 0 && !exists:
		b.NewChain(tableKey, policy)
	}
	for _, line := range want {
		b.NewRule(tableKey, policy, nil, nothing(), func(b *netlink.Builder) {
			b.PutBytes(unix.NFTA_RULE_USERDATA, tables.Comment(line))
		})
	}
}

// nothing goes on with the next rule. nft lists a rule without a statement but does not
// read it.
func nothing() *expression.Encoder {
	var e expression.Encoder
	e.Add(&expression.Verdict{Kind: expression.VerdictContinue})
	return &e
}
