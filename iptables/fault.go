package iptables

import "slices"

// Fault is what is wrong with what holds our rules, the rules aside. A ruleset that is
// wanted has none, so writing it repairs what has.
type Fault struct {
	// Text is a sentence without its full stop, such as "chain OUTPUT has the
	// policy DROP".
	Text string
	// Disables says that no packet meets any rule of ours.
	Disables bool
}

// Disabled reports whether a fault keeps every packet from our rules.
func (rs *Ruleset) Disabled() bool {
	_, ok := rs.DisabledBy()
	return ok
}

// DisabledBy returns the first fault that keeps every packet from our rules, if there
// is one.
func (rs *Ruleset) DisabledBy() (f Fault, ok bool) {
	at := slices.IndexFunc(rs.Faults, func(f Fault) bool { return f.Disables })
	if at < 0 {
		return f, false
	}
	return rs.Faults[at], true
}

// FaultTexts returns the sentences of the faults, or nil.
func (rs *Ruleset) FaultTexts() []string {
	var texts []string
	for _, f := range rs.Faults {
		texts = append(texts, f.Text)
	}
	return texts
}
