package xtables

import (
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
)

// maxRuleWords is how many words of a rule the restore programs surely take: MAX_ARGC
// (iptables/xshared.h) is 255, and they use some themselves. Only a rule with conditions
// on dozens of groups has more.
const maxRuleWords = 240

// restoreText returns a rule as iptables-save prints it or, if that has too many words
// for the restore programs, in fewer words for the same rule.
func restoreText(r iptables.Rule) string {
	text := r.String()
	if strings.Count(text, " ") < maxRuleWords {
		return text
	}
	r.Matches = slices.Clone(r.Matches)
	for i, m := range r.Matches {
		if _, ok := m.(iptables.Owner); ok {
			r.Matches[i] = joined(m)
		}
	}
	return r.String()
}

// joined returns a match, whose options all have values, with each option and value in
// one word: "-mowner ! --gid-owner=5" (getopt_long(3)).
func joined(m iptables.Match) iptables.Match {
	words := strings.Fields(iptables.Rule{Matches: []iptables.Match{m}}.String())
	var fewer []string
	for i := 0; i < len(words); i++ {
		word := words[i]
		switch {
		case strings.HasPrefix(word, "--"):
			i++
			word += "=" + words[i]
		case strings.HasPrefix(word, "-"):
			i++
			word += words[i]
		}
		fewer = append(fewer, word)
	}
	return iptables.UnknownMatch{Args: fewer}
}
