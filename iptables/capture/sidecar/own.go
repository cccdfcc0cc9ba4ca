package sidecar

import (
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
)

// chainPrefix starts the name of every chain of the policy. It is the prefix the
// reference uses, so that either tool recognises what the other left behind.
const chainPrefix = "ISTIO_"

// The mark and table that the reference uses unless told otherwise.
const (
	referenceMark  = 1337
	referenceTable = 133
)

// Ownership tells what is the policy's in a network namespace, whether this program made
// it or the reference.
func Ownership() iptables.Ownership {
	return iptables.Ownership{
		Chains: []string{chainPrefix},
		// IPv4 has all of 127.0.0.0/8 there.
		Addresses: []netip.Prefix{passthrough(iptables.IPv6)},
		Lookups:   []iptables.Lookup{{Mark: referenceMark, Table: referenceTable}},
	}
}

// passthrough returns the source address of the proxy's connections to the
// application, by which they are told from everybody else's: 127.0.0.6 or ::6. The
// reference and the proxy's configuration have it as a constant too.
func passthrough(f iptables.Family) netip.Prefix {
	if f == iptables.IPv6 {
		return netip.MustParsePrefix("::6/128")
	}
	return netip.MustParsePrefix("127.0.0.6/32")
}
