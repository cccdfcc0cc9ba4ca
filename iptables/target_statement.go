package iptables

// Statement is a statement of nft that iptables has no target for. Only rules that were
// read have it.
type Statement struct {
	// Words are nft's, as far as they go, such as "add @seen { ip saddr }".
	Words string
	Does  Effect
}

func (t Statement) appendSave(words []string) []string { return append(words, t.Words) }

// Effect returns what the statement does.
func (t Statement) Effect() Effect { return t.Does }
