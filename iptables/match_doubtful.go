package iptables

// Doubtful is a match that no packet decides. Only rules that were read have it.
type Doubtful struct{ Doubt }

func (m Doubtful) appendSave(words []string) []string { return append(words, m.What) }

// MetBy returns the doubt.
func (m Doubtful) MetBy(*Packet) (bool, error) { return false, &m.Doubt }
