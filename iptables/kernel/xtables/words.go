package xtables

import (
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
)

// maxRuleWords is how many words of a rule the restore programs surely take: MAX_ARGC
// (iptables/xshared.h) is 255, of which they use some for themselves. Only a rule with
// a condition for each of dozens of groups has more.
const maxRuleWords = 240

// restoreText returns a rule as iptables-save prints it, or where that has too many
// words for the restore programs, in fewer that mean the same. What is installed is
// the same too.
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

// joined returns a match, all options of which have a value, with each in one word
// with its value: "-mowner ! --gid-owner=5" (getopt_long(3)).
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
