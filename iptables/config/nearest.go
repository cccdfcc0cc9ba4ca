package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff/lcs"
	"github.com/spf13/pflag"
)

// Nearest returns the name of a flag, the names of Option.Reference included, that
// somebody who gave an unknown one likely meant; "" if none is close.
func (f *Flags) Nearest(unknown string) string {
	var names []string
	f.set.VisitAll(func(known *pflag.Flag) {
		if !known.Hidden {
			names = append(names, known.Name)
		}
	})
	return Nearest(unknown, append(names, slices.Sorted(maps.Keys(f.aliases))...))
}

// Nearest returns the first of those words that have the fewest letters more or
// less than the unknown one, but at most a third of its length. If there is none it
// returns the one that the unknown one begins, or "".
func Nearest(unknown string, words []string) string {
	best, most := "", max(2, len(unknown)/3)
	for _, word := range words {
		if d := distance(unknown, word); d <= most {
			best, most = word, d-1
		}
	}
	if best != "" {
		return best
	}
	longer := slices.DeleteFunc(slices.Clone(words), func(word string) bool { return !strings.HasPrefix(word, unknown) })
	if len(longer) == 1 {
		return longer[0]
	}
	return ""
}

// distance counts the letters that have to be removed and added to make one word
// of the other.
func distance(a, b string) int {
	n := 0
	for _, edit := range lcs.DiffBytes([]byte(a), []byte(b)) {
		n += edit.End - edit.Start + edit.ReplEnd - edit.ReplStart
	}
	return n
}
