package iptables

import (
	"fmt"
	"strings"
)

// UnknownMatch is a match that this package has no type for. Only rules that were read,
// or are about to be written, have it. [ParseSave] keeps the words as they are, quotes
// included, to print them again.
type UnknownMatch struct {
	// Name is the word after "-m". It is empty for an option of the rule itself.
	Name string
	Args []string
}

func (m UnknownMatch) appendSave(words []string) []string {
	if m.Name != "" {
		words = append(words, "-m", m.Name)
	}
	return append(words, m.Args...)
}

// MetBy returns an error, unless the match is a comment.
func (m UnknownMatch) MetBy(*Packet) (bool, error) {
	if isComment(m) {
		return true, nil
	}
	return false, fmt.Errorf("unknown match %s", strings.TrimSpace(m.Name+" "+strings.Join(m.Args, " ")))
}
