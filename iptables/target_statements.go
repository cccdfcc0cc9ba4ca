package iptables

// Statements is the target of a rule of nft that does several things. A packet that matches
// the first rule meets its target, then the second rule, and so on. The first rule that it
// does not match ends all, and so does a target that decides. Only rules that were read
// have it.
type Statements []Rule

func (t Statements) appendSave(words []string) []string {
	for i := range t {
		words = t[i].appendSave(words)
	}
	return words
}
