package native

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables/installed"
)

// Faults returns what is wrong with the table, apart from rules. Writing rules repairs
// it.
func (t *Table) Faults() []installed.Fault {
	return slices.Concat(t.unsound(), t.foreignRules(), t.uncounted())
}

// isSound reports whether the table, apart from rules, is as we make it: nothing in it
// disables rules or blocks changes.
func (t *Table) isSound() bool { return len(t.unsound()) == 0 }

// unsound returns why the table is not sound.
func (t *Table) unsound() []installed.Fault {
	var all []installed.Fault
	add := func(format string, args ...any) {
		all = append(all, installed.Fault{Text: fmt.Sprintf(format, args...)})
	}
	if t.isDormant() {
		all = append(all, installed.Fault{Text: fmt.Sprintf("table %s is dormant, so no packet reaches its rules", tableKey), Disables: true})
	}
	if others := t.flags &^ unix.NFT_TABLE_F_DORMANT; others != 0 {
		add("table %s has the flags %#x", tableKey, others)
	}
	// The table's use counts sets and other objects too, but not anonymous sets
	// (nf_tables_commit in net/netfilter/nf_tables_api.c).
	if t.use != len(t.chains)+len(t.Sets()) {
		add("table %s has named sets or objects", tableKey)
	}
	for _, c := range t.chains {
		if fault := t.faultOf(c); fault != "" {
			add("chain %s of table %s %s", c.Name, tableKey, fault)
		}
	}
	return all
}

// isDormant reports whether no packet reaches the table's chains.
func (t *Table) isDormant() bool { return t.flags&unix.NFT_TABLE_F_DORMANT != 0 }

func (t *Table) faultOf(c *installedChain) string {
	_, name := modelName(c.Name)
	switch {
	case !c.isBuiltin() && !t.Ownership.Owns(name):
		return "is foreign"
	case c.Base != c.isBuiltin(), c.Base && !c.isAttached():
		return "is not attached where it belongs"
	case c.Base && c.Policy != "ACCEPT":
		return "has the policy " + string(c.Policy)
	}
	return ""
}

// isBuiltin reports whether a chain has the name of a built-in chain.
func (c *installedChain) isBuiltin() bool {
	_, ok := attachmentOf(modelName(c.Name))
	return ok
}

// isAttached reports whether a built-in chain is attached where we attach it.
func (c *installedChain) isAttached() bool {
	a, ok := attachmentOf(modelName(c.Name))
	return ok && c.Attached == a
}

// foreignRules returns the rules of built-in chains that are not jumps of ours, as
// faults. They block no change, and go when their chain changes.
func (t *Table) foreignRules() []installed.Fault {
	var all []installed.Fault
	for _, c := range t.chains {
		for _, r := range c.rules {
			if named := withModelName(r.rule); c.Base && !t.Ownership.OwnsJump(named) {
				text := fmt.Sprintf("chain %s of table %s has the foreign rule %s", c.Name, tableKey, named)
				all = append(all, installed.Fault{Text: text})
			}
		}
	}
	return all
}

// uncounted returns our rules without a counter, as faults: we write one to each. Foreign
// rules in built-in chains need none. Rules without a counter go as foreign ones do.
func (t *Table) uncounted() []installed.Fault {
	var all []installed.Fault
	for _, c := range t.chains {
		for _, r := range c.rules {
			if named := withModelName(r.rule); r.uncounted && (!c.Base || t.Ownership.OwnsJump(named)) {
				text := fmt.Sprintf("chain %s of table %s has a rule without a counter: %s", c.Name, tableKey, named)
				all = append(all, installed.Fault{Text: text})
			}
		}
	}
	return all
}
