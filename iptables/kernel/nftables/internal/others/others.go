// Package others reads the rules of tables that are in neither of our forms, as nft and
// other programs write them, into the model: once for each family whose packets meet them.
//
// A rule is worked through as the kernel does it (nft_do_chain in
// net/netfilter/nf_tables_core.c): expressions load values into registers, compare them,
// and do something. A comparison that a match of iptables says exactly becomes that match,
// any other an [iptables.Comparison]. What depends on more than the packet becomes an
// [iptables.Doubtful] in nft's words. Nothing is left out, and nothing is an error.
package others

import (
	"bytes"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"golang.org/x/sys/unix"
)

// Tables are tables of neither form. The zero value has none. What the kernel lists is
// added: tables first, then chains, then rules.
type Tables struct {
	list []*table
}

type table struct {
	tables.Table
	chains []*chain
	byName map[string]*chain
	met    bool // by packets
}

type chain struct {
	tables.Chain
	rules []rule
}

type rule struct {
	handle uint64
	exprs  []expression.Expression
}

// AddTable adds a table. No packet meets one that is dormant.
func (s *Tables) AddTable(t tables.Table) {
	if t.Flags&unix.NFT_TABLE_F_DORMANT == 0 {
		s.list = append(s.list, &table{Table: t, byName: make(map[string]*chain)})
	}
}

// AddChain adds a chain if its table was added.
func (s *Tables) AddChain(p tables.Place, c tables.Chain) {
	t := s.at(p)
	if t == nil {
		return
	}
	added := &chain{Chain: c}
	t.chains = append(t.chains, added)
	t.byName[c.Name] = added
	if _, ok := t.base(added); ok {
		t.met = true
	}
}

// AddRule adds a rule if packets meet its table.
func (s *Tables) AddRule(p tables.Place, r tables.Rule) {
	t := s.at(p)
	if t == nil || !t.met {
		return
	}
	if c := t.byName[string(p.Chain())]; c != nil {
		c.rules = append(c.rules, rule{r.Handle, expression.Append(nil, bytes.Clone(r.Expressions))})
	}
}

func (s *Tables) at(p tables.Place) *table {
	for _, t := range s.list {
		if p.In(t.Key) {
			return t
		}
	}
	return nil
}

// Any reports whether packets meet any table.
func (s *Tables) Any() bool { return slices.ContainsFunc(s.list, func(t *table) bool { return t.met }) }

// base returns where a chain is attached. It is not ok for chains that are not.
func (t *table) base(c *chain) (b installed.Base, ok bool) {
	return tables.Base(installed.Other, &t.Table, t.String(), &c.Chain)
}

// Bases returns the base chains, once for each family.
func (s *Tables) Bases() []installed.Base {
	var all []installed.Base
	for _, t := range s.list {
		for _, c := range t.chains {
			b, ok := t.base(c)
			if !ok {
				continue
			}
			for _, b.Family = range t.Families() {
				all = append(all, b)
			}
		}
	}
	return all
}

// Rules returns the tables that packets meet, once for each family.
func (s *Tables) Rules(reader *Reader) []iptables.Table {
	var all []iptables.Table
	for _, t := range s.list {
		if !t.met {
			continue
		}
		for _, f := range t.Families() {
			all = append(all, t.of(f, reader))
		}
	}
	return all
}

// of returns the table as packets of a family meet it.
func (t *table) of(f iptables.Family, reader *Reader) iptables.Table {
	all := iptables.Table{Family: f, Name: t.String()}
	for _, c := range t.chains {
		read := iptables.Chain{Name: c.Name, Policy: c.Policy, Counters: c.Counters}
		for _, r := range c.rules {
			read.Rules = append(read.Rules, reader.Rule(t.Key, f, r.exprs))
		}
		all.Chains = append(all.Chains, read)
	}
	return all
}

// Find returns the position of a rule in its chain, from 1, and the rule as packets of a
// family meet it.
func (s *Tables) Find(key tables.Key, f iptables.Family, name string, handle uint64, reader *Reader) (position int, r iptables.Rule, known bool) {
	for _, t := range s.list {
		c := t.byName[name]
		if t.Key != key || c == nil {
			continue
		}
		if at := slices.IndexFunc(c.rules, func(r rule) bool { return r.handle == handle }); at >= 0 {
			return at + 1, reader.Rule(t.Key, f, c.rules[at].exprs), true
		}
	}
	return 0, r, false
}

// Sets returns the sets that rules look up.
func (s *Tables) Sets() []tables.SetKey {
	var all []tables.SetKey
	for _, t := range s.list {
		for _, c := range t.chains {
			for _, r := range c.rules {
				all = append(all, tables.SetsOf(t.Key, r.exprs)...)
			}
		}
	}
	return all
}
