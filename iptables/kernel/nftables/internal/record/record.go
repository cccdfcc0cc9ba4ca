// Package record keeps what rules were asked for with in nf_tables, beside the rules of
// either form: in the table "inet meshtables_options", with a chain for each policy. The
// chains have no hook, so no packet meets them, and iptables does not look at tables of
// that family. A line of the record is the comment of a rule.
package record

import (
	"slices"

	"github.com/google/nftables/expr"
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
	// Policy names the chain. Without it there is no record.
	Policy string

	found bool
	use   int
	// chain says that the policy's chain exists, and lines are the comments of its rules.
	chain bool
	lines installed.Record
}

// AddTable adds the table if it is this one, and reports whether it is.
func (t *Table) AddTable(read tables.Table) bool {
	if read.Key != tableKey || t.Policy == "" {
		return false
	}
	*t = Table{Policy: t.Policy, found: true, use: read.Use}
	return true
}

// AddChain adds a chain if it is the policy's.
func (t *Table) AddChain(p tables.Place, c tables.Chain) {
	if t.found && p.In(tableKey) && c.Name == t.Policy {
		t.chain = true
	}
}

// AddRule adds a rule if its chain was added.
func (t *Table) AddRule(p tables.Place, r tables.Rule) {
	if t.chain && p.In(tableKey) && string(p.Chain()) == t.Policy {
		t.lines = append(t.lines, tables.ReadComment(r.Userdata))
	}
}

// Record returns the policy's record. What is left of one counts as a changed one: the
// chain without rules, or the table without chains.
func (t *Table) Record() installed.Record {
	if len(t.lines) == 0 && t.found && (t.chain || t.use == 0) {
		return installed.Record{""}
	}
	return t.lines
}

// Changes appends the changes from the policy's record to want. Without a record, and
// without those of other policies, there is no table.
func (t *Table) Changes(b *tables.Changes, want installed.Record) {
	if t.Policy == "" || slices.Equal(t.Record(), want) {
		return
	}
	switch {
	case len(want) > 0:
		t.write(b, want)
	case t.use == 0, t.chain && t.use == 1:
		b.DeleteTable(tableKey)
	default:
		b.DeleteRules(tableKey, t.Policy)
		b.DeleteChain(tableKey, t.Policy)
	}
}

func (t *Table) write(b *tables.Changes, want installed.Record) {
	if !t.found {
		b.NewTable(tableKey)
	}
	if t.chain {
		b.DeleteRules(tableKey, t.Policy)
	} else {
		b.NewChain(tableKey, t.Policy)
	}
	for _, line := range want {
		b.NewRule(tableKey, t.Policy, nil, nothing(), func(b *netlink.Builder) {
			b.PutBytes(unix.NFTA_RULE_USERDATA, tables.Comment(line))
		})
	}
}

// nothing goes on with the next rule. nft lists a rule without a statement but does not
// read it.
func nothing() *expression.Encoder {
	var e expression.Encoder
	e.Add(&expr.Verdict{Kind: expr.VerdictContinue})
	return &e
}
