package ambient

import (
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
)

// Evidence implements [capture.Policy]. Only [chainOutput] has a name that others use too.
func (Policy) Evidence(rules *iptables.Ruleset) int {
	return capture.CountEvidence(rules, func(chain string) bool { return chain == chainPrerouting }, isOwnRule)
}

// isOwnRule reports whether only this policy writes such a rule of ISTIO_OUTPUT: one that
// asks for the mark of a packet, or that restores marks for all protocols.
func isOwnRule(chain string, r *iptables.Rule) bool {
	if chain != chainOutput {
		return false
	}
	_, restores := r.Target.(iptables.RestoreMark)
	return restores && r.Protocol == (iptables.ProtocolMatch{}) || len(iptables.MatchesOf[iptables.Mark](*r)) > 0
}
