package foreign

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

// First returns the first foreign rule before the last jump to our rules that may keep
// packets of a family from it or, with position 0, the first policy DROP that may. Rules
// that only count or log keep no packets away, nor do rules that accept in a chain with
// nothing of ours after them.
func First(path *installed.Path, f iptables.Family) (Rule, bool) {
	for _, hook := range []string{iptables.Prerouting, iptables.Output} {
		var rules []Rule
		for _, t := range path.Met(f) {
			rules = append(rules, rulesIn(path.Ownership, t, hook)...)
		}
		rules = rules[:afterOwn(path.Ownership, rules)]
		at := slices.IndexFunc(rules, func(r Rule) bool { return !path.Ownership.OwnsJump(r.Rule) && !isHarmless(r.Rule) })
		if at >= 0 {
			return rules[at], true
		}
	}
	return Rule{}, false
}

// rulesIn returns the rules of a built-in chain of a table, and last its policy if
// packets reach it and it drops them. It leaves out rules that let packets go on to ours.
func rulesIn(own iptables.Ownership, t installed.Table, hook string) []Rule {
	c := t.Chain(hook)
	if c == nil {
		return nil
	}
	rules := make([]Rule, len(c.Rules))
	for i, r := range c.Rules {
		rules[i] = Rule{Table: t.Title(), Chain: hook, Position: i + 1, Rule: r}
	}
	if c.Policy == iptables.Policy(iptables.Drop) && !slices.ContainsFunc(c.Rules, acceptsAll) {
		rules = append(rules, Rule{Table: t.Title(), Chain: hook, Rule: iptables.Rule{Target: iptables.Drop}})
	}
	after := afterOwn(own, rules)
	return append(rules[:after:after], slices.DeleteFunc(rules[after:], goesOn)...)
}

// afterOwn returns the index after the last jump to our rules.
func afterOwn(own iptables.Ownership, rules []Rule) int {
	n := len(rules)
	for n > 0 && !own.OwnsJump(rules[n-1].Rule) {
		n--
	}
	return n
}

// goesOn reports whether a rule of a built-in chain ends only the walk through its table.
func goesOn(r Rule) bool {
	return r.Rule.Target == iptables.Accept || r.Rule.Target == iptables.Return
}

func acceptsAll(r iptables.Rule) bool {
	return r.Uncommented().Equal(iptables.Rule{Target: iptables.Accept})
}

func isHarmless(r iptables.Rule) bool {
	t, ok := r.Target.(iptables.UnknownTarget)
	return r.Target == nil || ok && t.OnlyTells()
}
