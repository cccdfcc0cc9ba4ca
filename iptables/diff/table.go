package diff

import "github.com/meshtables/meshtables/iptables"

// Table is what has to change in a table.
type Table struct {
	Name    string
	Changes []Change[iptables.Rule, iptables.Rule]
}

// Tables compares what is ours in all tables of a family. It returns every table of
// either side, in canonical order, also those that are as wanted.
func Tables(own iptables.Ownership, have, want *iptables.Ruleset, f iptables.Family) []Table {
	var either iptables.Ruleset
	for _, rs := range []*iptables.Ruleset{have, want} {
		for _, t := range rs.Tables {
			if t.Family == f && either.Table(f, t.Name) == nil {
				either.Tables = append(either.Tables, iptables.Table{Family: f, Name: t.Name})
			}
		}
	}
	either.Sort()
	tables := make([]Table, len(either.Tables))
	for i, t := range either.Tables {
		changes := Chains(chainsOf(own, have.Table(f, t.Name)), chainsOf(own, want.Table(f, t.Name)), own.IsAsWanted)
		tables[i] = Table{t.Name, changes}
	}
	return tables
}

// chainsOf returns what is ours in a table, which may be nil.
func chainsOf(own iptables.Ownership, t *iptables.Table) []Chain[iptables.Rule] {
	if t == nil {
		return nil
	}
	var chains []Chain[iptables.Rule]
	for _, c := range own.OfTable(t).Chains {
		chains = append(chains, Chain[iptables.Rule]{c.Name, c.Rules})
	}
	return chains
}
