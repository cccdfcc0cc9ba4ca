package iptables

import (
	"fmt"
	"strings"
)

// UnknownMatch is a match that this package has no type for. It appears only in
// rules that were read, or are about to be written. Of text, see [ParseSave], the words
// are kept as they stood, quotes included, so that they can be printed again.
type UnknownMatch struct {
	// Name is what follows "-m"; it is empty for an option of the rule itself.
	Name string
	Args []string
}

func (m UnknownMatch) appendSave(words []string) []string {
	if m.Name != "" {
		words = append(words, "-m", m.Name)
	}
	return append(words, m.Args...)
}

// MetBy fails, unless the match is a comment.
func (m UnknownMatch) MetBy(*Packet) (bool, error) {
	if isComment(m) {
		return true, nil
	}
	return false, fmt.Errorf("unknown match %s", strings.TrimSpace(m.Name+" "+strings.Join(m.Args, " ")))
}
