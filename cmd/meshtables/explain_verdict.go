package main

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel/nftables"
	"github.com/meshtables/meshtables/iptables/trace"
)

// verdictOf returns what the rules of a path came to: Unknown where one may have done
// what nobody here knows, such as DNAT.
func (s *subject) verdictOf(report trace.Report) (v explain.Verdict, port uint16) {
	v = explain.Bypassed
	if len(report.Path) == 0 {
		return explain.Unknown, 0
	}
	for _, step := range report.Path {
		rule := s.ruleOf(report, step)
		if rule == nil {
			if step.Position == 0 {
				v, port = explain.Unknown, 0
			}
			continue
		}
		switch t := rule.Target.(type) {
		case iptables.TProxy:
			v, port = explain.TProxied, portOf(t.Port, report)
		case iptables.Redirect:
			// The socket that TPROXY gave the packet to keeps it.
			if v != explain.TProxied {
				v, port = explain.Redirected, portOf(t.Ports.First, report)
			}
		case iptables.UnknownTarget:
			if !t.OnlyTells() {
				v, port = explain.Unknown, 0
			}
		}
	}
	if report.Path[len(report.Path)-1].Dropped {
		return explain.Dropped, 0
	}
	return v, port
}

// portOf returns the port of a target, which without one leaves the packet's.
func portOf(port uint16, report trace.Report) uint16 {
	return cmp.Or(port, report.Sent.DestinationPort)
}

// ruleOf returns the rule of a step, or nil if it is in no table that is walked, or is
// a policy.
func (s *subject) ruleOf(report trace.Report, step nftables.TraceStep) *iptables.Rule {
	met := s.path.Met(report.Sent.Family())
	i := slices.IndexFunc(met, func(t installed.Table) bool { return t.Title() == step.Table })
	if i < 0 {
		return nil
	}
	chain := met[i].Chain(step.Chain)
	if chain == nil || step.Position < 1 || step.Position > len(chain.Rules) {
		return nil
	}
	return &chain.Rules[step.Position-1]
}

// whyDropped tells why the packet ended at a step: targets that hand packets on drop
// those that they cannot.
func (s *subject) whyDropped(report trace.Report, step nftables.TraceStep) string {
	rule := s.ruleOf(report, step)
	if rule == nil {
		return "by what is not meshtables'"
	}
	switch rule.Target.(type) {
	case iptables.TProxy:
		return "TPROXY does that as long as no transparent socket listens on its port"
	case iptables.Redirect:
		return fmt.Sprintf("REDIRECT does that to what comes in by an interface without an %s address, as %s is here", report.Sent.Family(), report.Sent.In)
	}
	if rule.Origin == (iptables.Origin{}) {
		return "by what is not meshtables'"
	}
	return "as " + rule.Origin.String() + " asks for"
}
