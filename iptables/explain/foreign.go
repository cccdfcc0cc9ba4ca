package explain

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
)

// FirstForeign returns the first rule of others that packets of a family meet before
// the last jump to rules of ours, which it may keep them from. Rules that only count
// or tell somebody keep them from nothing, nor do those that accept in a table before
// ours.
func FirstForeign(rs *iptables.Ruleset, f iptables.Family) (Step, bool) {
	for _, hook := range []string{iptables.Prerouting, iptables.Output} {
		steps := stepsOf(rs, f, hook)
		for len(steps) > 0 && !steps[len(steps)-1].Rule.JumpsIntoOwn() {
			steps = steps[:len(steps)-1]
		}
		at := slices.IndexFunc(steps, func(s Step) bool { return !s.Rule.JumpsIntoOwn() && !isHarmless(s.Rule) })
		if at >= 0 {
			return steps[at], true
		}
	}
	return Step{}, false
}

// stepsOf returns the rules of the built-in chains of a hook, in the order in which
// [Walk] comes to them, without those that let packets go on to ours.
func stepsOf(rs *iptables.Ruleset, f iptables.Family, hook string) []Step {
	var steps []Step
	for _, t := range rs.Met(f) {
		inTable := stepsIn(t, hook)
		if t.Before {
			inTable = slices.DeleteFunc(inTable, goesOn)
		}
		steps = append(steps, inTable...)
	}
	return steps
}

func stepsIn(t iptables.MetTable, hook string) []Step {
	c := t.Chain(hook)
	if c == nil {
		return nil
	}
	steps := make([]Step, len(c.Rules))
	for i, r := range c.Rules {
		steps[i] = Step{Hook: hook, Table: t.Title(), Chain: hook, Position: i + 1, Rule: r}
	}
	return steps
}

// goesOn reports whether what a rule of a built-in chain ends is the table only.
func goesOn(s Step) bool {
	return s.Rule.Target == iptables.Accept || s.Rule.Target == iptables.Return
}

func isHarmless(r iptables.Rule) bool {
	t, ok := r.Target.(iptables.UnknownTarget)
	return r.Target == nil || ok && t.OnlyTells()
}
