// Package diff compares our installed rules with the wanted ones, chain by chain and in
// order, for those who write the changes and those who print the differences.
package diff

import "slices"

// Chain is a chain with the rules in it that are ours: all rules of our own chains, the
// jumps to our chains in any other.
type Chain[R any] struct {
	Name  string
	Rules []R
}

// Change turns one chain into the wanted one.
//
// If all our rules are as wanted, in the wanted order, none is deleted or inserted: they
// keep their counters, and jumps keep their place among foreign rules. Otherwise all
// installed ones are deleted and all wanted ones inserted, after the foreign rules. No
// writer edits the middle of a chain: the programs find a place there only by its number,
// which somebody else may change meanwhile, and counters that start at different times
// would not add up. verify looks for what both lists have in common itself.
type Change[H, W any] struct {
	Chain string
	// Make says that the chain is wanted and missing, Remove that it is there and not
	// wanted. What that means for chains that are not ours is up to the writer.
	Make, Remove bool
	Delete       []H
	Insert       []W
}

// Chains returns the changes for all chains of a table that are not as wanted: first
// wanted chains, then chains that are only installed, each in their order. No chain may
// be there twice.
func Chains[H, W any](have []Chain[H], want []Chain[W], equal func(H, W) bool) []Change[H, W] {
	installed := make(map[string]Chain[H], len(have))
	for _, c := range have {
		installed[c.Name] = c
	}
	var changes []Change[H, W]
	for _, w := range want {
		h, found := installed[w.Name]
		delete(installed, w.Name)
		switch same := slices.EqualFunc(h.Rules, w.Rules, equal); {
		case !same:
			changes = append(changes, Change[H, W]{Chain: w.Name, Make: !found, Delete: h.Rules, Insert: w.Rules})
		case !found:
			changes = append(changes, Change[H, W]{Chain: w.Name, Make: true})
		}
	}
	for _, h := range have {
		if _, unwanted := installed[h.Name]; unwanted {
			changes = append(changes, Change[H, W]{Chain: h.Name, Remove: true, Delete: h.Rules})
		}
	}
	return changes
}
