package ambient

import "github.com/meshtables/meshtables/iptables"

// Name is the policy's name.
const Name = "ambient"

// chainPrefix starts the name of every chain of the policy. The reference uses it too,
// so either tool recognises what the other left behind.
const chainPrefix = "ISTIO_"

// The reference's mark of connections, and its routing table.
const (
	referenceMark  = 0x111
	referenceMask  = 0xfff
	referenceTable = 100
)

// Ownership returns what the policy owns in a network namespace, whether this program or
// the reference made it.
func Ownership() iptables.Ownership {
	return iptables.Ownership{
		Policies: []string{Name},
		Chains:   []string{chainPrefix},
		Lookups:  []iptables.Lookup{{Mark: referenceMark, Mask: referenceMask, Table: referenceTable}},
	}
}
