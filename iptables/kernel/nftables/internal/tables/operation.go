package tables

import "github.com/meshtables/meshtables/iptables"

// Operation describes a change, as the purpose of its message.
type Operation struct {
	What string // such as "add a rule to"
	Key
	Chain string         // or empty
	Rule  *iptables.Rule // or nil
}

// String returns text such as "add a rule to chain OUTPUT of table ip nat".
func (o Operation) String() string {
	s := o.What
	if o.Chain != "" {
		s += " chain " + o.Chain + " of"
	}
	return s + " table " + o.Key.String()
}
