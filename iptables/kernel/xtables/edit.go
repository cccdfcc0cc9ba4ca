package xtables

import (
	"cmp"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
)

// edit is the change of one table, as lines for iptables-restore --noflush.
type edit struct {
	table   string
	lines   []string // from "*table" to "COMMIT"
	shrinks bool
}

// writeOrder is the order in which tables are written that stay or grow: marks
// and zones are set before the table that relies on them.
var writeOrder = [...]string{iptables.Raw, iptables.Mangle, iptables.Nat}

// edits returns the changes that make what is ours of have into what is ours of
// want, in an order in which traffic always meets the old or the new way to the
// proxy, or both: tables in which chains of ours become more before tables in
// which they become fewer, and those in the opposite order. So mangle starts to
// deliver to the proxy (TPROXY) before nat stops to (REDIRECT), and the other
// way round; zones exist before DNS is redirected and until it no longer is.
func edits(have, want *iptables.Ruleset, family iptables.Family) []edit {
	var edits []edit
	for _, name := range tableNames(have, want, family) {
		if e, ok := diffTable(ownOf(have, family, name), ownOf(want, family, name)); ok {
			edits = append(edits, e)
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

func tableNames(have, want *iptables.Ruleset, family iptables.Family) []string {
	var names []string
	for _, rs := range []*iptables.Ruleset{have, want} {
		for _, t := range rs.Tables {
			if t.Family == family && !slices.Contains(names, t.Name) {
				names = append(names, t.Name)
			}
		}
	}
	return names
}

// ownOf returns what is ours of a table, which need not exist.
func ownOf(rs *iptables.Ruleset, family iptables.Family, name string) *iptables.Table {
	own := iptables.Table{Family: family, Name: name}
	if t := rs.Table(family, name); t != nil {
		own = t.Own()
	}
	return &own
}

// diffTable returns the edit between two tables that hold nothing but what is
// ours, if they differ.
//
// Chains that stay the same are not touched, which keeps their counters; and
// neither are jumps, which keeps their place among foreign rules, as long as
// those of one chain are the wanted ones in the wanted order.
func diffTable(have, want *iptables.Table) (edit, bool) {
	var declare, deleteJumps, fill, addJumps, drop []string
	for _, c := range want.Chains {
		old := have.Chain(c.Name)
		if old != nil && slices.EqualFunc(old.Rules, c.Rules, iptables.Rule.Equal) {
			continue
		}
		if !iptables.IsOwn(c.Name) {
			addJumps = append(addJumps, commands("-A", c)...)
			continue
		}
		// With --noflush this makes a chain or empties it.
		declare = append(declare, ":"+c.Name+" - [0:0]")
		fill = append(fill, commands("-A", c)...)
	}
	for _, c := range have.Chains {
		wanted := want.Chain(c.Name)
		switch {
		case !iptables.IsOwn(c.Name):
			if wanted == nil || !slices.EqualFunc(wanted.Rules, c.Rules, iptables.Rule.Equal) {
				deleteJumps = append(deleteJumps, commands("-D", c)...)
			}
		case wanted == nil:
			// Emptied first: obsolete chains may jump to each other.
			declare = append(declare, ":"+c.Name+" - [0:0]")
			drop = append(drop, "-X "+c.Name)
		}
	}
	lines := slices.Concat(declare, deleteJumps, fill, addJumps, drop)
	if len(lines) == 0 {
		return edit{}, false
	}
	return edit{
		table:   want.Name,
		lines:   slices.Concat([]string{"*" + want.Name}, lines, []string{"COMMIT"}),
		shrinks: ownChains(want) < ownChains(have),
	}, true
}

func commands(command string, c iptables.Chain) []string {
	lines := make([]string, len(c.Rules))
	for i, r := range c.Rules {
		// The words as they were loaded: "-D" finds a rule by them. A number
		// would hit another rule if someone else changed the chain meanwhile.
		lines[i] = strings.TrimSpace(command + " " + c.Name + " " + restoreText(r))
	}
	return lines
}

func ownChains(t *iptables.Table) int {
	n := 0
	for _, c := range t.Chains {
		if iptables.IsOwn(c.Name) {
			n++
		}
	}
	return n
}
