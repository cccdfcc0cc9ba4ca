package native

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
)

// foreignChain stands for what is in the native table and not of our making, so
// that the table is not taken for what is wanted: its rules are comments that say
// what there is. The kernel has no such chain.
const foreignChain = iptables.OwnPrefix + "FOREIGN"

// notes returns rules that do nothing but say something.
func notes(texts []string) []iptables.Rule {
	rules := make([]iptables.Rule, len(texts))
	for i, text := range texts {
		rules[i].Matches = []iptables.Match{iptables.Comment{Text: text}}
	}
	return rules
}

// isSound reports whether the table is made as we make it, rules aside: nothing in
// it keeps the rules from doing what they say, or would be in the way of changing
// them.
func (t *Table) isSound() bool { return len(t.faults()) == 0 }

// faults returns in words what keeps the table from being sound.
func (t *Table) faults() []string {
	var all []string
	switch {
	case t.isDormant():
		all = append(all, "the table is dormant")
	case t.flags != 0:
		all = append(all, fmt.Sprintf("the table has the flags %#x", t.flags))
	}
	// The table's use counts sets and other objects too, but not anonymous sets
	// (nf_tables_commit in net/netfilter/nf_tables_api.c).
	if t.use != len(t.chains) {
		all = append(all, "the table has sets with names, or objects")
	}
	for _, c := range t.chains {
		if fault := c.fault(); fault != "" {
			all = append(all, "chain "+c.Name+" "+fault)
		}
	}
	return all
}

// isDormant reports whether no packet meets any of the table's chains.
func (t *Table) isDormant() bool { return t.flags&unix.NFT_TABLE_F_DORMANT != 0 }

func (c *installedChain) fault() string {
	table, name := modelName(c.Name)
	_, isBuiltin := attachmentOf(table, name)
	switch {
	case !isBuiltin && !iptables.IsOwn(name):
		return "is foreign"
	case c.Base != isBuiltin, c.Base && !c.isAttached():
		return "is not where it belongs"
	case c.Base && c.Policy != "ACCEPT":
		return "has the policy " + string(c.Policy)
	}
	return ""
}

// isAttached reports whether packets meet a built-in chain where we would have
// them meet it.
func (c *installedChain) isAttached() bool {
	a, ok := attachmentOf(modelName(c.Name))
	return ok && c.Attached == a
}

// foreignRules returns the rules of built-in chains that are not jumps of ours, in
// words. They are in nobody's way, and go when their chain changes.
func (t *Table) foreignRules() []string {
	var all []string
	for _, c := range t.chains {
		for _, r := range c.rules {
			to, jumps := withModelName(r.rule).JumpsTo()
			if c.Base && !(jumps && iptables.IsOwn(to)) {
				all = append(all, fmt.Sprintf("chain %s has the rule %s", c.Name, r.rule))
			}
		}
	}
	return all
}
