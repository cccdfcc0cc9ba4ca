// Package ipset reads and changes the sets that rules of iptables' form look up, over
// netlink.
//
// The kernel keeps nothing beside a set that says who made it. So ours have an odd limit of
// how many addresses they may have, [maxElements]. A set that others have made is used as it
// is, and never removed.
package ipset

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
)

// kind is the type of the sets: single addresses.
const kind = "hash:ip"

// maxElements is the limit of our sets: the kernel's default and 'm'.
const maxElements = 1<<16 + 'm'

// State is the sets of a network namespace, by name.
type State map[string]Set

// Set is a set as the kernel has it.
type Set struct {
	iptables.AddressSet
	// Ours says that we made it.
	Ours bool
}

// Sets returns the content of all sets, by name.
func (s State) Sets() []iptables.AddressSet {
	var all []iptables.AddressSet
	for _, set := range s {
		all = append(all, set.AddressSet)
	}
	slices.SortFunc(all, func(a, b iptables.AddressSet) int { return int(a.Family) - int(b.Family) })
	return all
}
