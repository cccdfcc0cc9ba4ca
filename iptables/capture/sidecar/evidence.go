package sidecar

import (
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
)

// Evidence implements [capture.Policy]. Only [chainOutput] has a name that others use too.
func (Policy) Evidence(rules *iptables.Ruleset) int {
	return capture.CountEvidence(rules, isOwnChain, isOwnRule)
}

// isOwnChain reports whether only this policy makes a chain. Parts of a split chain, such as
// ISTIO_OUTPUT_2, are its too: chains are split because of owners.
func isOwnChain(name string) bool {
	own := []string{chainInbound, chainInRedirect, chainRedirect, chainPrerouting, chainTProxy, chainDivert, chainDrop}
	return slices.Contains(own, name) || strings.HasPrefix(name, chainOutput+"_")
}

// isOwnRule reports whether only this policy writes such a rule of ISTIO_OUTPUT: one that
// goes on to a chain, or that knows somebody by user, group or address.
func isOwnRule(chain string, r *iptables.Rule) bool {
	if chain != chainOutput {
		return false
	}
	to, _ := r.JumpsTo()
	_, marks := r.Target.(iptables.SetMark)
	return isOwnChain(to) || marks || r.Source != (iptables.Address{}) ||
		len(r.Named(iptables.OwnerUID)) > 0 || len(r.Named(iptables.OwnerGID)) > 0
}
