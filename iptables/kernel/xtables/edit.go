package xtables

import (
	"cmp"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/diff"
)

// edit is the change of one table, as lines for iptables-restore --noflush.
type edit struct {
	table   string
	lines   []string // from "*table" to "COMMIT"
	shrinks bool
}

// writeOrder is the order of writing tables that stay or grow: marks and zones are set
// before the table that relies on them.
var writeOrder = [...]string{iptables.Raw, iptables.Mangle, iptables.Nat}

// edits returns the changes from what is ours in have to what is ours in want. Their
// order always leaves traffic the old way to the proxy, the new one, or both: tables that
// get more chains of ours come first, then tables that get fewer, in the opposite order.
// So mangle starts to deliver to the proxy (TPROXY) before nat stops to (REDIRECT), and
// vice versa. Zones exist before DNS is redirected and until it no longer is.
func edits(own iptables.Ownership, have, want *iptables.Ruleset, family iptables.Family) []edit {
	var edits []edit
	for _, t := range diff.Tables(own, have, want, family) {
		if len(t.Changes) > 0 {
			edits = append(edits, editOf(own, t))
		}
	}
	rank := func(e edit) int {
		i := slices.Index(writeOrder[:], e.table)
		if e.shrinks {
			return len(writeOrder) + len(writeOrder) - i
		}
		return i
	}
	slices.SortStableFunc(edits, func(a, b edit) int { return cmp.Compare(rank(a), rank(b)) })
	return edits
}

// editOf returns the edit that makes the changes of a table.
func editOf(own iptables.Ownership, t diff.Table) edit {
	var declare, deleteJumps, fill, addJumps, drop []string
	more := 0 // chains of ours
	for _, c := range t.Changes {
		if !own.Owns(c.Chain) {
			deleteJumps = append(deleteJumps, commands("-D", c.Chain, c.Delete)...)
			addJumps = append(addJumps, additions(c.Chain, c.Insert)...)
			continue
		}
		// With --noflush this creates a chain or empties it, also chains that go, as they
		// may jump to each other.
		declare = append(declare, ":"+c.Chain+" - [0:0]")
		fill = append(fill, commands("-A", c.Chain, c.Insert)...)
		switch {
		case c.Make:
			more++
		case c.Remove:
			more--
			drop = append(drop, "-X "+c.Chain)
		}
	}
	return edit{
		table:   t.Name,
		lines:   slices.Concat([]string{"*" + t.Name}, declare, deleteJumps, fill, addJumps, drop, []string{"COMMIT"}),
		shrinks: more < 0,
	}
}

// additions returns the commands that add jumps after the foreign rules, or before them.
func additions(chain string, rules []iptables.Rule) []string {
	var lines []string
	for _, r := range rules {
		command := "-A"
		if r.First {
			command = "-I"
		}
		lines = append(lines, commands(command, chain, []iptables.Rule{r})...)
	}
	return lines
}

func commands(command, chain string, rules []iptables.Rule) []string {
	lines := make([]string, len(rules))
	for i, r := range rules {
		// The words as loaded: "-D" finds a rule by them. A number would hit another rule
		// if somebody else changed the chain meanwhile.
		lines[i] = strings.TrimSpace(command + " " + chain + " " + restoreText(r))
	}
	return lines
}
