package foreign

import (
	"fmt"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
)

// maxTrials bounds how many packets of a family are tried. Rulesets that need more have
// thousands of foreign rules.
const maxTrials = 10000

// judge judges the rules of one family.
type judge struct {
	Situation
	family iptables.Family
	alone  func(iptables.Packet) explain.Result
	proxy  explain.Proxy
	tried  map[trial]bool
	found  map[kind]bool
	all    []Finding
}

// trial is a packet, as a key.
type trial struct {
	hook                        string
	protocol                    iptables.Protocol
	source, destination         string
	sourcePort, destinationPort uint16
	in, out                     string
	owner                       iptables.SocketOwner
}

// kind is what one finding says for others like it: thousands of rules below one jump, such
// as those of services, are told once.
type kind struct {
	direction string
	protocol  iptables.Protocol
	// does is the effect or, before it is known, the kind of the target.
	does  string
	entry entry
}

func (j *judge) run() {
	if !j.hasForeign() {
		return
	}
	own := j.Path.OnlyOwn()
	j.proxy = j.Proxy(j.family)
	j.alone = func(p iptables.Packet) explain.Result { return explain.WalkPath(own, p) }
	j.tried, j.found = make(map[trial]bool), make(map[kind]bool)
	var captured []sample
	for _, s := range j.samples(&own.Rules) {
		if j.alone(s.packet).IsOurs() {
			captured = append(captured, s)
			j.try(s, nil)
		}
	}
	if len(captured) == 0 {
		return
	}
	at := outHooks
	if slices.ContainsFunc(captured, func(s sample) bool { return j.alone(s.packet).Verdict.IsCaptured() }) {
		at = hooks
	}
	ways := j.ways(at)
	for _, w := range ways {
		for _, base := range captured {
			for _, s := range w.bend(base, j) {
				j.try(s, &w)
			}
		}
	}
	if len(j.tried) >= maxTrials || len(ways) >= maxTrials {
		j.all = append(j.all, Finding{
			Family: j.family, Direction: "in and out", Traffic: "some traffic",
			Interference: explain.Interference{
				Effect: explain.Unclear, By: explain.Step{Foreign: true},
				Doubt: fmt.Sprintf("more foreign rules than can be tried with %d packets", maxTrials),
			},
		})
	}
}

// hasForeign reports whether packets of the family meet anything foreign.
func (j *judge) hasForeign() bool {
	for _, t := range j.Path.Tables(j.family) {
		for _, c := range t.Chains {
			if c.Policy == iptables.Policy(iptables.Drop) {
				return true
			}
			for _, r := range c.Rules {
				if !j.Path.Owns(t.Own, c.Name, r) {
					return true
				}
			}
		}
	}
	return false
}

// try walks a packet, which has what the rules of a way name, if there is one.
func (j *judge) try(s sample, w *way) {
	if w != nil && j.found[w.kindOf(s)] {
		return
	}
	key := s.key()
	if j.tried[key] || len(j.tried) >= maxTrials {
		return
	}
	j.tried[key] = true
	p := s.packet
	alone := j.alone(p)
	if !alone.IsOurs() {
		return
	}
	i := explain.Interfere(j.Path, p, alone, explain.WalkPath(j.Path, p), j.proxy)
	if i == nil {
		return
	}
	if w != nil {
		j.found[w.kindOf(s)] = true
	}
	told := kind{s.direction(), p.Protocol, string(i.Effect), entry{i.By.Table, i.By.Chain, i.By.Position}}
	if j.found[told] {
		return
	}
	j.found[told] = true
	j.all = append(j.all, Finding{
		Interference: *i, Family: j.family, Direction: s.direction(), Traffic: s.traffic(), Packet: p,
		Command: i.Mend(j.Path, j.family),
	})
}

// kindOf returns the kind of what the way does to a packet, by its target.
func (w *way) kindOf(s sample) kind {
	return kind{s.direction(), s.packet.Protocol, w.target, w.entry}
}
