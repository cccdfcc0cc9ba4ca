// Package show draws the rules that are installed, so that a person sees the way
// of a packet from the built-in chain that it enters by to what becomes of it.
//
// [Text] draws trees with counters, [Dot] and [Mermaid] pictures of the chains;
// [Tables] is the same for programs. Rules of others are drawn where they stand
// in a built-in chain beside ours, because their order matters; what they lead to
// is not.
package show

import (
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

// Backend is what one backend holds.
type Backend struct {
	// Name is what --backend calls it.
	Name string
	// Form says in words in which form the rules are, such as "listed by
	// iptables".
	Form string
	// Rules are all that it holds, foreign ones included, with origins where
	// these can be told.
	Rules iptables.Ruleset
	// Ownership tells which of them are ours.
	Ownership iptables.Ownership
	// Faults are those of what holds them.
	Faults []installed.Fault
}

func familyNames(families []iptables.Family) string {
	names := make([]string, len(families))
	for i, f := range families {
		names[i] = f.String()
	}
	return strings.Join(names, " and ")
}
