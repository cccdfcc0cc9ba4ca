package foreign

import (
	"fmt"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/installed"
)

// Breach is ordinary traffic of a direction that our rules, as they should be, capture, and
// that goes elsewhere: by foreign rules or because ours are damaged.
type Breach struct {
	Family iptables.Family
	// Direction is "in" or "out", Traffic the kind of traffic, such as "tcp".
	Direction, Traffic string
	// Why is the first reason; see [explain.Reason].
	Why string
}

// String returns a sentence such as "IPv4 tcp: the rules are damaged: …".
func (b Breach) String() string { return fmt.Sprintf("%s %s: %s", b.Family, b.Traffic, b.Why) }

// Breaches compares what happens to ordinary traffic with what should happen.
func Breaches(s Situation, intended *explain.Intended, policy explain.Policy) []Breach {
	var all []Breach
	meant := installed.Alone(intended.Rules, s.Path.Ownership)
	for _, f := range iptables.Families() {
		j := judge{Situation: s, family: f, proxy: s.Proxy(f)}
		for _, sample := range j.samples(&intended.Rules) {
			b, ok := j.breach(sample, meant, intended, policy)
			if ok && !slices.ContainsFunc(all, b.isLike) {
				all = append(all, b)
			}
		}
	}
	return all
}

// isLike reports whether another breach is of the same direction and for the same reason.
func (b Breach) isLike(other Breach) bool {
	return b.Family == other.Family && b.Direction == other.Direction && b.Why == other.Why
}

func (j *judge) breach(s sample, meant *installed.Path, intended *explain.Intended, policy explain.Policy) (b Breach, ok bool) {
	should := explain.WalkPath(meant, s.packet)
	if !should.Verdict.IsCaptured() {
		return b, false
	}
	result := explain.WalkPath(j.Path, s.packet)
	if result.Verdict == explain.Unknown && !result.Chance {
		return b, false
	}
	// It may be lost later, so there may be a reason although it is captured.
	reasons := explain.Reasons(explain.Question{
		Path: j.Path, Packet: s.packet, Result: result, Policy: policy, Intended: intended, Proxy: j.proxy,
	})
	if len(reasons) == 0 {
		return b, false
	}
	if reasons[0].Effect == explain.Captured && result.Port == should.Port {
		// Thanks to whom it is captured is no matter here.
		return b, false
	}
	return Breach{j.family, s.direction(), s.traffic(), reasons[0].Why}, true
}
