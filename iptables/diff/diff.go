// Package diff compares the rules of ours that are installed with those that are
// wanted, chain by chain and in order: for whoever makes the one into the other, and
// for whoever tells the difference.
package diff

import "slices"

// Chain is a chain with those of its rules that are ours: all of a chain of ours, the
// jumps to ours of any other.
type Chain[R any] struct {
	Name  string
	Rules []R
}

// Change is what makes one chain what is wanted.
//
// Where all rules of ours are as wanted, in the wanted order, none is deleted or
// inserted: they keep their counters, and jumps their place among foreign rules. Where
// they are not, all that are installed are deleted, and all that are wanted inserted,
// after the foreign rules. No writer edits the middle of a chain. The programs find a
// place there by its number only, which somebody else may change meanwhile, and
// counters that begin at different times would not add up. To tell people, verify
// looks for what the two lists have in common.
type Change[H, W any] struct {
	Chain string
	// Make tells that the chain itself is not there and wanted, Remove the opposite.
	// What that means for chains that are not ours is up to the writer.
	Make, Remove bool
	Delete       []H
	Insert       []W
}

// Chains returns the changes of all chains of a table that are not as wanted: first
// those that are wanted, then those that are only there, each in their order. A chain
// may be there only once.
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
