package sidecar

import "github.com/meshtables/meshtables/iptables"

// chainPrefix starts the name of every chain of the policy. It is the prefix the
// reference uses, so that either tool recognises what the other left behind.
const chainPrefix = "ISTIO_"

// Ownership tells what is the policy's in a network namespace, whether this program made
// it or the reference.
func Ownership() iptables.Ownership {
	return iptables.Ownership{Chains: []string{chainPrefix}}
}
