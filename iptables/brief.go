package iptables

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// longSet is a set of more than MaxListed values in the text of a rule.
var longSet = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\{((?:[^,{}]+,){` + strconv.Itoa(MaxListed) + `})[^{}]+\}`)
})

// Brief shortens each [Set] in the text of a rule to its first [MaxListed] values. A set
// can have thousands.
func Brief(rule string) string {
	return longSet().ReplaceAllStringFunc(rule, func(set string) string {
		first := longSet().FindStringSubmatch(set)[1]
		return fmt.Sprintf("{%s... (%d values)}", first, strings.Count(set, ",")+1)
	})
}

// Enumerate returns words as a list in a sentence: "a, b and c".
func Enumerate(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " and " + words[last]
}
