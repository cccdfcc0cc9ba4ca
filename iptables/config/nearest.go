package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff/lcs"
	"github.com/spf13/pflag"
)

// Nearest returns the flag that the user likely meant by an unknown one, by any of its
// long names, those of the references included. It returns "" if none is close.
func (f *Flags) Nearest(unknown string) string {
	var names []string
	f.set.VisitAll(func(known *pflag.Flag) {
		if !known.Hidden {
			names = append(names, known.Name)
		}
	})
	return Nearest(unknown, append(names, slices.Sorted(maps.Keys(f.aliases))...))
}

// Nearest returns the word that takes the fewest letters added or removed to become the
// unknown one, but at most a third of its length; of several the first. If there is none,
// it returns the only word that begins with the unknown one, or "".
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

// distance counts the letters to remove and add to turn one word into the other.
func distance(a, b string) int {
	n := 0
	for _, edit := range lcs.DiffBytes([]byte(a), []byte(b)) {
		n += edit.End - edit.Start + edit.ReplEnd - edit.ReplStart
	}
	return n
}
