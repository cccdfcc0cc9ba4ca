package sidecar

import (
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
)

// Name is the policy's name.
const Name = "sidecar"

// chainPrefix starts the name of every chain of the policy. The reference uses it too,
// so either tool recognises what the other left behind.
const chainPrefix = "ISTIO_"

// The reference's default mark and table.
const (
	referenceMark  = 1337
	referenceTable = 133
)

// Ownership returns what the policy owns in a network namespace, whether this program or
// the reference made it.
func Ownership() iptables.Ownership {
	return iptables.Ownership{
		Policies: []string{Name},
		Chains:   []string{chainPrefix},
		// In IPv4 lo has all of 127.0.0.0/8.
		Addresses: []netip.Prefix{passthrough(iptables.IPv6)},
		Lookups:   []iptables.Lookup{{Mark: referenceMark, Table: referenceTable}},
	}
}

// passthrough returns the source address of the proxy's connections to the application:
// 127.0.0.6 or ::6. Rules recognise these connections by it. It is a constant in the
// reference and in the proxy's configuration too.
func passthrough(f iptables.Family) netip.Prefix {
	if f == iptables.IPv6 {
		return netip.MustParsePrefix("::6/128")
	}
	return netip.MustParsePrefix("127.0.0.6/32")
}
