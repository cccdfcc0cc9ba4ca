// Package verify compares the rules that are installed with those that are
// wanted, to the last word and in order, and tells the difference.
package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff/lcs"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/diff"
	"github.com/meshtables/meshtables/iptables/foreign"
	"github.com/meshtables/meshtables/iptables/installed"
)

// Kind is what a [Difference] is.
type Kind string

// The kinds. A rule that has moved is missing at one place and unexpected at
// another.
const (
	Missing    Kind = "missing"    // wanted, not installed
	Unexpected Kind = "unexpected" // ours and installed, not wanted
	Shadowed   Kind = "shadowed"   // installed, but a foreign rule before it takes all packets that the proxy could get
)

// Difference is one thing that is not as wanted.
type Difference struct {
	Kind   Kind   `json:"kind"`
	Family string `json:"family"`
	Table  string `json:"table"`
	Chain  string `json:"chain"`
	// Position counts the rules of the chain from 1, as iptables
	// --line-numbers does: of the installed chain, or for what is missing of
	// the wanted one, foreign rules aside. 0 is the chain itself.
	Position int `json:"position"`
	// Rule is the rule as iptables-save prints it, without its chain.
	Rule string `json:"rule,omitempty"`
	// Origin is the option behind a rule that is wanted.
	Origin string `json:"origin,omitempty"`
	// By is the foreign rule, or policy, that shadows this one; see [foreign.Shadow].
	By string `json:"by,omitempty"`

	// changed tells in which values of long lists the rule differs from the one in
	// whose place it is wanted.
	changed []string
}

// String returns the difference without its family, table and chain: "+" before
// what is missing, "-" before what is unexpected. Of long lists it has the beginning,
// and what differs in them on lines of their own.
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
	case Shadowed:
		return fmt.Sprintf("! %s\n    sees no packet for the proxy, behind the foreign %s", what, d.By)
	}
	if d.Origin != "" {
		what += "  # " + d.Origin
	}
	return strings.Join(append([]string{what}, d.changed...), "\n      ")
}

// Legend tells in one line what the marks mean that [Difference.String] puts before
// some differences.
func Legend(all []Difference) string {
	marks := "- installed, + wanted"
	is := func(shadowed bool) bool {
		return slices.ContainsFunc(all, func(d Difference) bool { return (d.Kind == Shadowed) == shadowed })
	}
	switch {
	case !is(true):
		return marks
	case !is(false):
		return shadowedMark
	}
	return marks + ", " + shadowedMark
}

const shadowedMark = "! installed behind a foreign rule"

// Rules returns the differences between what is ours of the installed rules and
// the wanted ones, which hold nothing else. There are none exactly if packets
// meet what is wanted, in its order.
func Rules(want *iptables.Ruleset, have *installed.Path) []Difference {
	var all []Difference
	for _, f := range iptables.Families() {
		for _, t := range diff.Tables(have.Ownership, &have.Rules, want, f) {
			c := comparison{family: f, table: t.Name, have: have.Rules.Table(f, t.Name), path: have}
			all = append(all, c.differences(t)...)
		}
	}
	return all
}

// CommentsOnly reports whether the rules differ, but in nothing that a packet could
// notice.
func CommentsOnly(want *iptables.Ruleset, have *installed.Path) bool {
	wanted, uncommented := want.Uncommented(), *have
	uncommented.Rules = have.Rules.Uncommented()
	return len(Rules(want, have)) > 0 && len(Rules(&wanted, &uncommented)) == 0
}

// comparison is that of one table, which may not exist.
type comparison struct {
	family iptables.Family
	table  string
	have   *iptables.Table
	// path is all of what have is a part of.
	path *installed.Path
}

func (c *comparison) differences(t diff.Table) []Difference {
	var all []Difference
	for _, change := range t.Changes {
		all = append(all, c.chain(change)...)
	}
	if c.have != nil {
		for _, s := range foreign.Shadows(c.path, c.have) {
			d := c.difference(Shadowed, s.Chain, s.Position, s.Rule.Rule)
			d.By = s.By
			all = append(all, d)
		}
	}
	return all
}

// chain tells what differs in one chain, in as few rules as there can be.
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

// itself adds that a chain of ours is there or not. A built-in chain, of which
// only the jumps are ours, always is.
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

// positions returns the places of the n installed rules of a chain that are
// ours, among all its rules.
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
