package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Replaced returns a sentence, with a hint on a line of its own, for each value of a flag
// that a later one on the command line replaced. The flag set must be parsed.
func (f *Flags) Replaced() []string {
	var all []string
	for _, fl := range slices.Concat(f.policy, f.program) {
		all = append(all, fl.replaced()...)
	}
	return all
}

func (f *flag) replaced() []string {
	var all []string
	var values []string
	for _, g := range f.earlier {
		// The same text once more changes nothing.
		if g.Text == f.text || slices.Contains(values, g.Text) {
			continue
		}
		values = append(values, g.Text)
		all = append(all, fmt.Sprintf("%v has no effect: %v comes later, and the last counts", g, f.given()[0]))
	}
	if all != nil && isList(f.Value) && !slices.ContainsFunc(append(values, f.text), isNoList) {
		all[len(all)-1] += fmt.Sprintf("\nhint: a list is one word, with commas: --%s=%s", f.name, strings.Join(append(values, f.text), ","))
	}
	return all
}

// isNoList reports whether a value of a list cannot be joined with another.
func isNoList(text string) bool { return text == Everything || strings.TrimSpace(text) == "" }

// lister is a value that is a list.
type lister interface {
	// repeated returns the items that are in a text more than once; Set has accepted it.
	repeated(text string) string
}

func isList(v pflag.Value) bool {
	_, ok := v.(lister)
	return ok
}
