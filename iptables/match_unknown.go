package iptables

import "strings"

// UnknownMatch is a match that this package has no type for. Only rules that were read,
// or are about to be written, have it. [ParseSave] keeps the words as they are, quotes
// included, to print them again.
type UnknownMatch struct {
	// Name is the word after "-m". It is empty for an option of the rule itself.
	Name string
	Args []string
	// Kept is what the reader needs to write the match again; nil if the words are
	// enough. Nobody else looks at it.
	Kept any
}

func (m UnknownMatch) appendSave(words []string) []string {
	if m.Name != "" {
		words = append(words, "-m", m.Name)
	}
	return append(words, m.Args...)
}

// MetBy evaluates the words, as far as the packet decides. Otherwise it returns a
// [*Doubt]. Matches in the same words behave alike.
func (m UnknownMatch) MetBy(p *Packet) (bool, error) {
	if isComment(m) {
		return true, nil
	}
	a := m.answer(p)
	if a == unsure {
		return false, &Doubt{What: strings.Join(m.appendSave(nil), " "), Chance: m.usesChance()}
	}
	return a == yes, nil
}
