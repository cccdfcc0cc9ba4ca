// Package verify compares the installed rules with the wanted ones, word by word and in
// order, and returns the differences.
package verify

import (
	"fmt"
	"strings"

	"github.com/aymanbagabas/go-udiff/lcs"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/diff"
	"github.com/meshtables/meshtables/iptables/installed"
)

// Kind is what a [Difference] is.
type Kind string

// The kinds. A moved rule is missing in one place and unexpected in another.
const (
	Missing    Kind = "missing"    // wanted, not installed
	Unexpected Kind = "unexpected" // ours and installed, not wanted
)

// Difference is one deviation from what is wanted.
type Difference struct {
	Kind   Kind   `json:"kind"`
	Family string `json:"family"`
	Table  string `json:"table"`
	Chain  string `json:"chain"`
	// Position counts the rules of the chain from 1, as iptables --line-numbers does: in
	// the installed chain or, for missing rules, in the wanted one without foreign rules.
	// 0 is the chain itself.
	Position int `json:"position"`
	// Rule is the rule as iptables-save prints it, without its chain.
	Rule string `json:"rule,omitempty"`
	// Origin is the option that makes a wanted rule.
	Origin string `json:"origin,omitempty"`

	// changed says in which values of long lists the rule differs from the installed one
	// in its place.
	changed []string
	// instead is the wanted rule in the place of a changed one; see [Pair].
	instead string
}

// String returns the difference without its family, table and chain: "+" is before
// missing rules, "-" before unexpected ones. Long lists are cut, with the differing
// values on lines of their own.
func (d Difference) String() string {
	what := "the chain itself"
	if d.Position > 0 {
		what = fmt.Sprintf("%d: %s", d.Position, iptables.Brief(d.Rule))
	}
	switch d.Kind {
	case Missing:
		what = "+ " + what
	case Unexpected:
		what = "- " + what
	}
	if d.Origin != "" {
		what += "  # " + d.Origin
	}
	return strings.Join(append([]string{what}, d.changed...), "\n      ")
}

// Legend explains the marks of [Difference.String] in one line.
const Legend = "- installed, + wanted"

// Rules returns the differences between our installed rules and the wanted ones, which
// are all ours. There are none if and only if packets pass the wanted rules in rule
// order.
func Rules(want *iptables.Ruleset, have *installed.Path) []Difference {
	var all []Difference
	rules := have.Ownership.Plain(have.Rules)
	for _, f := range iptables.Families() {
		for _, t := range diff.Tables(have.Ownership, &rules, want, f) {
			c := comparison{family: f, table: t.Name, have: rules.Table(f, t.Name), path: have}
			all = append(all, c.differences(t)...)
		}
	}
	return all
}

// CommentsOnly reports whether the rules differ only in what packets do not notice.
func CommentsOnly(want *iptables.Ruleset, have *installed.Path) bool {
	wanted, uncommented := want.Uncommented(), *have
	uncommented.Rules = have.Rules.Uncommented()
	return len(Rules(want, have)) > 0 && len(Rules(&wanted, &uncommented)) == 0
}

// comparison compares one table, which may not exist.
type comparison struct {
	family iptables.Family
	table  string
	have   *iptables.Table
	// path is the whole that have is a part of.
	path *installed.Path
}

func (c *comparison) differences(t diff.Table) []Difference {
	var all []Difference
	for _, change := range t.Changes {
		all = append(all, c.chain(change)...)
	}
	return all
}

// chain returns the differences in one chain, as few as possible.
func (c *comparison) chain(change diff.Change[iptables.Rule, iptables.Rule]) []Difference {
	var all []Difference
	name, found, wanted := change.Chain, change.Delete, change.Insert
	switch {
	case change.Remove:
		all = c.itself(all, Unexpected, name)
	case change.Make:
		all = c.itself(all, Missing, name)
	}
	positions := c.positions(name, len(found))
	for _, edit := range lcs.DiffLines(lines(found), lines(wanted)) {
		for i := edit.Start; i < edit.End; i++ {
			all = append(all, c.difference(Unexpected, name, positions[i], found[i]))
		}
		for i := edit.ReplStart; i < edit.ReplEnd; i++ {
			d := c.difference(Missing, name, i+1, wanted[i])
			for j := edit.Start; j < edit.End && d.changed == nil; j++ {
				d.changed = changedValues(found[j], wanted[i])
			}
			all = append(all, d)
		}
	}
	return all
}

// itself adds that a chain of ours is missing or unexpected. Built-in chains, where only
// the jumps are ours, never are.
func (c *comparison) itself(all []Difference, kind Kind, chain string) []Difference {
	if !c.path.Ownership.Owns(chain) {
		return all
	}
	return append(all, Difference{Kind: kind, Family: c.family.String(), Table: c.table, Chain: chain})
}

func (c *comparison) difference(kind Kind, chain string, position int, r iptables.Rule) Difference {
	return Difference{
		Kind: kind, Family: c.family.String(), Table: c.table, Chain: chain,
		Position: position, Rule: r.String(), Origin: r.Origin.String(),
	}
}

// positions returns the places of our n installed rules of a chain, among all its rules.
func (c *comparison) positions(chain string, n int) []int {
	positions := make([]int, 0, n)
	if c.have == nil || n == 0 {
		return positions
	}
	for i, r := range c.have.Chain(chain).Rules {
		if c.path.Ownership.OwnsRule(chain, r) {
			positions = append(positions, i+1)
		}
	}
	return positions
}

func lines(rules []iptables.Rule) []string {
	lines := make([]string, len(rules))
	for i, r := range rules {
		lines[i] = r.String()
	}
	return lines
}
