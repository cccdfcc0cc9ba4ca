package show

import "github.com/meshtables/meshtables/iptables"

// Table is a table of one family with something of ours, for programs.
type Table struct {
	Family string  `json:"family"`
	Table  string  `json:"table"`
	Chains []Chain `json:"chains"`
}

// Chain is a chain of ours, or a built-in chain that jumps to one.
type Chain struct {
	Chain string `json:"chain"`
	// Policy is the policy of a built-in chain.
	Policy string `json:"policy,omitempty"`
	Rules  []Rule `json:"rules"`
}

// Rule is a rule of a [Chain].
type Rule struct {
	// Position counts the rules of the chain from 1, as iptables
	// --line-numbers does.
	Position int `json:"position"`
	// Rule is the rule as iptables-save prints it, without its chain. Words say the same.
	Rule    string `json:"rule"`
	Words   string `json:"words"`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
	// BothFamilies says that one rule handles both families and counts packets of both.
	// The other family's table has it too, with the same count.
	BothFamilies bool `json:"bothFamilies,omitempty"`
	// Origin is the option that makes the rule, if known.
	Origin  string `json:"origin,omitempty"`
	Foreign bool   `json:"foreign,omitempty"`
}

// Tables returns the tables with something of ours, with our chains and those that jump
// to them, in canonical order.
func Tables(b *Backend) []Table {
	tables := []Table{}
	for _, own := range b.Ownership.Of(b.Rules).Tables {
		t := b.Rules.Table(own.Family, own.Name)
		table := Table{Family: t.Family.String(), Table: t.Name}
		for _, c := range own.Chains {
			table.Chains = append(table.Chains, b.newChain(t.Chain(c.Name)))
		}
		tables = append(tables, table)
	}
	return tables
}

func (b *Backend) newChain(c *iptables.Chain) Chain {
	chain := Chain{Chain: c.Name, Policy: string(c.Policy), Rules: []Rule{}}
	for i, r := range c.Rules {
		chain.Rules = append(chain.Rules, Rule{
			Position: i + 1,
			Rule:     r.String(),
			Words:    conditions(r) + arrow + verdict(r),
			Packets:  r.Counters.Packets,
			Bytes:    r.Counters.Bytes,
			Origin:   r.Origin.String(),
			Foreign:  !b.Ownership.OwnsRule(c.Name, r),

			BothFamilies: r.Shared,
		})
	}
	return chain
}
