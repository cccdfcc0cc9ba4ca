package iptables

// Uncounted says of a rule of the native form of nf_tables that it has no counter,
// which every rule of ours has. Every packet meets it; its text is for people.
type Uncounted struct{}

func (Uncounted) appendSave(words []string) []string { return append(words, "--no-counter") }

// MetBy is true.
func (Uncounted) MetBy(*Packet) (bool, error) { return true, nil }
