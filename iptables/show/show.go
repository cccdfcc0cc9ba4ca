// Package show draws the installed rules, so that people see the way of a packet from the
// built-in chain where it enters to the verdict.
//
// [Text] draws trees with counters. [Dot] and [Mermaid] draw pictures of the chains.
// [Tables] returns the same for programs. Foreign rules in a built-in chain with ours are
// drawn too, because their order matters. Where they lead is not drawn.
package show

import (
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

// Backend is the content of one backend.
type Backend struct {
	// Name is its name for --backend.
	Name string
	// Form says in words which form the rules have, such as "listed by iptables".
	Form string
	// Rules are all its rules, foreign ones included, with origins where known.
	Rules iptables.Ruleset
	// Ownership says which of them are ours.
	Ownership iptables.Ownership
	// Faults are the faults of the table that holds them.
	Faults []installed.Fault
}

func familyNames(families []iptables.Family) string {
	names := make([]string, len(families))
	for i, f := range families {
		names[i] = f.String()
	}
	return strings.Join(names, " and ")
}
