// Package lazy makes values of packages that most runs do not use: when they are used first,
// not when the program starts.
package lazy

import (
	"regexp"
	"sync"
)

// Regexp returns a function that returns the regular expression.
func Regexp(text string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
}
