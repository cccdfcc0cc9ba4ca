package explain

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
)

// FirstForeign returns the first rule of others that packets of a family meet before
// the last jump to rules of ours, which it may keep them from; or, with position 0, the
// first policy DROP that does. Rules that only count or tell somebody keep packets from
// nothing, nor do those that accept in a chain of which nothing after them is ours.
func FirstForeign(path *installed.Path, f iptables.Family) (Step, bool) {
	for _, hook := range []string{iptables.Prerouting, iptables.Output} {
		var steps []Step
		for _, t := range path.Met(f) {
			steps = append(steps, stepsIn(t, hook)...)
		}
		steps = steps[:afterOwn(steps)]
		at := slices.IndexFunc(steps, func(s Step) bool { return !s.Rule.JumpsIntoOwn() && !isHarmless(s.Rule) })
		if at >= 0 {
			return steps[at], true
		}
	}
	return Step{}, false
}

// stepsIn returns the rules of a built-in chain of a table, and last its policy if
// packets come to it and it drops them. Left out are those that let packets go on to
// ours.
func stepsIn(t installed.Table, hook string) []Step {
	c := t.Chain(hook)
	if c == nil {
		return nil
	}
	steps := make([]Step, len(c.Rules))
	for i, r := range c.Rules {
		steps[i] = Step{Hook: hook, Table: t.Title(), Chain: hook, Position: i + 1, Rule: r}
	}
	if c.Policy == iptables.Policy(iptables.Drop) && !slices.ContainsFunc(c.Rules, acceptsAll) {
		steps = append(steps, Step{Hook: hook, Table: t.Title(), Chain: hook, Rule: iptables.Rule{Target: iptables.Drop}})
	}
	own := afterOwn(steps)
	return append(steps[:own:own], slices.DeleteFunc(steps[own:], goesOn)...)
}

// afterOwn returns where the steps after the last jump to rules of ours begin.
func afterOwn(steps []Step) int {
	n := len(steps)
	for n > 0 && !steps[n-1].Rule.JumpsIntoOwn() {
		n--
	}
	return n
}

// goesOn reports whether what a rule of a built-in chain ends is the table only.
func goesOn(s Step) bool {
	return s.Rule.Target == iptables.Accept || s.Rule.Target == iptables.Return
}

func acceptsAll(r iptables.Rule) bool {
	return r.Uncommented().Equal(iptables.Rule{Target: iptables.Accept})
}

func isHarmless(r iptables.Rule) bool {
	t, ok := r.Target.(iptables.UnknownTarget)
	return r.Target == nil || ok && t.OnlyTells()
}
