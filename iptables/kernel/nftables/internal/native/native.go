// Package native reads and writes nf_tables' own form: one table for both families, "inet
// meshtables", with sets for lists and without xtables. The whole table is ours.
package native

import (
	"bytes"
	"context"
	"errors"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"golang.org/x/sys/unix"
)

// Table is the table as the kernel has it. The zero value is no table. What the kernel
// lists is added: the table first, then chains, then rules, then sets and their elements.
// [Table.DecodeRules] comes last.
type Table struct {
	// Ownership says which chains belong in it.
	Ownership iptables.Ownership

	found  bool
	flags  uint32
	use    int
	chains []*installedChain
	sets   map[string]*installedSet
}

type installedChain struct {
	tables.Chain
	texts []ruleText // one for each rule, until it is decoded
	rules []rule
}

// ruleText is a rule that is decoded when the sets are known.
type ruleText struct {
	handle uint64
	exprs  []expression.Expression
	origin iptables.Origin
	reason string
}

// AddTable adds the table if it is this one, and reports whether it is.
func (t *Table) AddTable(read tables.Table) bool {
	if read.Key != tableKey {
		return false
	}
	*t = Table{Ownership: t.Ownership, found: true, flags: read.Flags, use: read.Use, sets: make(map[string]*installedSet)}
	return true
}

// AddChain adds a chain if it is in this table.
func (t *Table) AddChain(p tables.Place, c tables.Chain) {
	if t.found && p.In(tableKey) {
		t.chains = append(t.chains, &installedChain{Chain: c})
	}
}

// AddRule adds a rule if it is in this table.
func (t *Table) AddRule(p tables.Place, r tables.Rule) {
	if !t.found || !p.In(tableKey) {
		return
	}
	if c := t.chain(string(p.Chain())); c != nil {
		exprs := expression.Append(nil, bytes.Clone(r.Expressions))
		origin, reason := readComment(r.Userdata)
		c.texts = append(c.texts, ruleText{r.Handle, exprs, origin, reason})
	}
}

func (t *Table) chain(name string) *installedChain {
	for _, c := range t.chains {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// LoadSets adds the sets with their elements, and decodes the rules that look them up.
func (t *Table) LoadSets(ctx context.Context, c *netlink.Conn) error {
	if !t.found {
		return nil
	}
	err := t.list(ctx, c, unix.NFT_MSG_GETSET, "list the sets", unix.NFTA_SET_TABLE, nil, t.AddSet)
	if err != nil {
		return err
	}
	for name := range t.sets {
		of := func(b *netlink.Builder) { b.PutString(unix.NFTA_SET_ELEM_LIST_SET, name) }
		err := t.list(ctx, c, unix.NFT_MSG_GETSETELEM, "list a set", unix.NFTA_SET_ELEM_LIST_TABLE, of, t.AddElements)
		if err != nil {
			return err
		}
	}
	t.DecodeRules()
	return nil
}

// DecodeRules decodes the added rules. Before it, the table has none.
func (t *Table) DecodeRules() {
	for _, chain := range t.chains {
		for _, text := range chain.texts {
			r := decode(text.exprs, t.sets)
			r.rule.Origin, r.rule.Reason = text.origin, text.reason
			r.handles = []uint64{text.handle}
			chain.rules = append(chain.rules, r)
		}
		chain.rules = joinTProxy(chain.rules)
	}
}

// list reads everything of a kind in the table, which the attribute table names; more can
// name a set. If that was removed meanwhile, the error is ErrChanged.
func (t *Table) list(ctx context.Context, c *netlink.Conn, kind uint16, purpose netlink.Purpose,
	table uint16, more func(*netlink.Builder), each func(netlink.Message)) error {
	err := c.Dump(ctx, netlink.Request{
		Kind: netlink.NFTables(kind), Family: unix.NFPROTO_INET, Purpose: purpose,
		Attributes: func(b *netlink.Builder) {
			b.PutString(table, tableKey.Name)
			if more != nil {
				more(b)
			}
		},
	}, each)
	if errors.Is(err, unix.ENOENT) {
		return netlink.ErrChanged
	}
	return err
}
