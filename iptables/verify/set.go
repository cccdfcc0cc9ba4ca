package verify

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
)

// changedValues returns, as text, the values of long sets that two otherwise equal rules
// do not share. It is empty for other rules.
func changedValues(installed, wanted iptables.Rule) []string {
	have, want := iptables.MatchesOf[iptables.Set](installed), iptables.MatchesOf[iptables.Set](wanted)
	if len(want) == 0 || len(have) != len(want) || !hollow(installed).Equal(hollow(wanted)) {
		return nil
	}
	var all []string
	for i, s := range want {
		if max(len(s.Elements), len(have[i].Elements)) <= iptables.MaxListed {
			continue
		}
		if missing := without(s.Elements, have[i].Elements); len(missing) > 0 {
			all = append(all, words(s.Field, missing)+" not installed")
		}
		if extra := without(have[i].Elements, s.Elements); len(extra) > 0 {
			all = append(all, words(s.Field, extra)+" not wanted")
		}
	}
	return all
}

func words(f iptables.SetField, values []iptables.Interval) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = v.Text(f)
	}
	return string(f) + " " + iptables.ShortList(texts, iptables.MaxListed)
}

// hollow returns a rule with its sets empty.
func hollow(r iptables.Rule) iptables.Rule {
	r.Matches = slices.Clone(r.Matches)
	for i, m := range r.Matches {
		if s, ok := m.(iptables.Set); ok {
			s.Elements = nil
			r.Matches[i] = s
		}
	}
	return r
}

// without returns the values that are not among others.
func without(values, others []iptables.Interval) []iptables.Interval {
	known := make(map[iptables.Interval]bool, len(others))
	for _, v := range others {
		known[v] = true
	}
	return slices.DeleteFunc(slices.Clone(values), func(v iptables.Interval) bool { return known[v] })
}
