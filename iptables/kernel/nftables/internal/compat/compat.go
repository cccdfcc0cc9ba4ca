// Package compat reads and writes the form of iptables-nft: the tables "ip nat", "ip
// mangle" and so on, whose rules have matches and targets of xtables by nft_compat. Their
// structs are from the headers in /usr/include/linux/netfilter, named at each.
package compat

import (
	"bytes"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"golang.org/x/sys/unix"
)

// Tables are iptables' tables as the kernel has them. The zero value has none. What the
// kernel lists is added: tables first, then chains, then rules.
type Tables struct {
	// Ownership says what is ours in them.
	Ownership iptables.Ownership

	list  []*installedTable
	exprs []expression.Expression // of the rule being read
}

type installedTable struct {
	tables.Table
	chains []*installedChain
	byName map[string]*installedChain
}

type installedChain struct {
	tables.Chain
	rules   []iptables.Rule
	handles []uint64 // of the rules
	// foreign are the expressions of foreign rules that iptables did not write, by the place
	// of the rule.
	foreign map[int][]expression.Expression
}

// maxExpected limits how many rules a chain gets room for before any is read.
const maxExpected = 1 << 14

// AddTable adds a table, and reports whether iptables uses it.
func (s *Tables) AddTable(t tables.Table) bool {
	if t.Family == tables.Inet || iptables.BuiltinChains(t.Name) == nil {
		return false
	}
	s.list = append(s.list, &installedTable{Table: t, byName: make(map[string]*installedChain)})
	return true
}

// AddChain adds a chain if its table was added.
func (s *Tables) AddChain(p tables.Place, c tables.Chain) {
	if t := s.at(p); t != nil {
		added := &installedChain{Chain: c}
		t.chains = append(t.chains, added)
		t.byName[c.Name] = added
	}
}

// AddRule adds a rule if its table was added.
func (s *Tables) AddRule(p tables.Place, r tables.Rule) {
	t := s.at(p)
	if t == nil {
		return
	}
	c := t.byName[string(p.Chain())]
	if c == nil {
		return
	}
	s.exprs = expression.Append(s.exprs[:0], r.Expressions)
	added := decodeRule(t.Family, s.exprs)
	if isOfNFT(added) && !s.Ownership.OwnsRule(c.Name, added) {
		if c.foreign == nil {
			c.foreign = make(map[int][]expression.Expression)
		}
		c.foreign[len(c.rules)] = expression.Append(nil, bytes.Clone(r.Expressions))
	}
	if len(c.rules) == cap(c.rules) {
		// append would grow thousands of rules by a quarter at a time.
		c.rules = slices.Grow(c.rules, max(len(c.rules), min(c.Use, maxExpected)))
	}
	c.rules = append(c.rules, added)
	c.handles = append(c.handles, r.Handle)
}

// isOfNFT reports whether a rule has expressions that iptables does not write.
func isOfNFT(r iptables.Rule) bool {
	t, _ := r.Target.(iptables.UnknownTarget)
	return t.Name == expression.Unknown || slices.ContainsFunc(r.Matches, func(m iptables.Match) bool {
		unknown, ok := m.(iptables.UnknownMatch)
		return ok && unknown.Name == expression.Unknown
	})
}

// Complete reads foreign rules that iptables did not write.
func (s *Tables) Complete(read func(tables.Key, []expression.Expression) iptables.Rule) {
	for _, t := range s.list {
		for _, c := range t.chains {
			for at, exprs := range c.foreign {
				c.rules[at] = read(t.Key, exprs)
			}
		}
	}
}

// Sets returns the sets that such rules look up.
func (s *Tables) Sets() []tables.SetKey {
	var all []tables.SetKey
	for _, t := range s.list {
		for _, c := range t.chains {
			for _, exprs := range c.foreign {
				all = append(all, tables.SetsOf(t.Key, exprs)...)
			}
		}
	}
	return all
}

func (s *Tables) at(p tables.Place) *installedTable {
	for _, t := range s.list {
		if p.In(t.Key) {
			return t
		}
	}
	return nil
}

func (s *Tables) table(key tables.Key) *installedTable {
	for _, t := range s.list {
		if t.Key == key {
			return t
		}
	}
	return nil
}

func (t *installedTable) chain(name string) *installedChain { return t.byName[name] }

// Ruleset returns the tables as iptables-save shows them: with all built-in chains of
// each table, also those that do not exist yet, which iptables shows as empty with policy
// ACCEPT.
func (s *Tables) Ruleset() iptables.Ruleset {
	var rs iptables.Ruleset
	for _, t := range s.list {
		table := iptables.NewTable(t.Family, t.Name)
		for _, c := range t.chains {
			chain := table.Chain(c.Name)
			if chain == nil {
				table.Append(c.Name)
				chain = table.Chain(c.Name)
			}
			chain.Policy, chain.Counters, chain.Rules = c.Policy, c.Counters, slices.Clip(c.rules)
		}
		rs.Tables = append(rs.Tables, table)
	}
	rs.Sort()
	return rs
}

// Bases returns the base chains, wherever they are attached. No packet meets those of a
// dormant table.
func (s *Tables) Bases() []installed.Base {
	var all []installed.Base
	for _, t := range s.list {
		if t.Flags&unix.NFT_TABLE_F_DORMANT != 0 {
			continue
		}
		for _, c := range t.chains {
			if b, ok := tables.Base(installed.NFT, &t.Table, t.Name, &c.Chain); ok {
				b.Family = t.Family
				all = append(all, b)
			}
		}
	}
	return all
}

// Find returns the rule with a handle and its position, counted from 1, or 0 if there is
// no such rule. known says whether iptables uses the table.
func (s *Tables) Find(key tables.Key, chain string, handle uint64) (position int, r iptables.Rule, known bool) {
	t := s.table(key)
	if t == nil {
		return 0, r, false
	}
	if c := t.chain(chain); c != nil {
		if at := slices.Index(c.handles, handle); at >= 0 {
			return at + 1, s.Ownership.ReadComment(chain, c.rules[at]), true
		}
	}
	return 0, r, true
}
