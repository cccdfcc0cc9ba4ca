package trace

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/foreign"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel/nftables"
)

// Refused is the verdict on a packet that the kernel did not send, if no reported rule
// dropped it: it has no route, or something that reports nothing is in its way.
const Refused explain.Verdict = "refused"

// Verdict returns the verdict of the rules that the packet matched: Unknown if one may
// have done something that this package does not know, such as DNAT. path has the rules.
func (r *Report) Verdict(path *installed.Path) (v explain.Verdict, port uint16) {
	switch {
	case r.Dropped():
		return explain.Dropped, 0
	case r.Refused != nil:
		return Refused, 0
	case len(r.Path) == 0:
		return explain.Unknown, 0
	}
	v = explain.Bypassed
	for _, step := range r.Path {
		rule := r.Rule(path, step)
		if rule == nil {
			if step.Position == 0 {
				v, port = explain.Unknown, 0
			}
			continue
		}
		switch t := rule.Target.(type) {
		case iptables.TProxy:
			v, port = explain.TProxied, r.portOf(t.Port)
		case iptables.Redirect:
			// The socket that TPROXY gave the packet to keeps it.
			if v != explain.TProxied {
				v, port = explain.Redirected, r.portOf(t.Ports.First)
			}
		case iptables.UnknownTarget:
			if !t.OnlyTells() {
				v, port = explain.Unknown, 0
			}
		}
	}
	return v, port
}

// Dropped reports whether the last rule that the packet matched dropped it.
func (r *Report) Dropped() bool { return len(r.Path) > 0 && r.Path[len(r.Path)-1].Dropped }

// portOf returns the port of a target. A target without a port keeps the packet's.
func (r *Report) portOf(port uint16) uint16 { return cmp.Or(port, r.Sent.DestinationPort) }

// Rule returns the rule of a step, or nil for a policy or a rule in no table of the path.
func (r *Report) Rule(path *installed.Path, step nftables.TraceStep) *iptables.Rule {
	met := path.Met(r.Sent.Family())
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

// TargetFailed reports whether a target that hands packets on dropped the packet because
// it could not.
func (r *Report) TargetFailed(path *installed.Path) bool {
	if !r.Dropped() {
		return false
	}
	rule := r.Rule(path, r.Path[len(r.Path)-1])
	if rule == nil {
		return false
	}
	switch rule.Target.(type) {
	case iptables.TProxy, iptables.Redirect:
		return true
	}
	return false
}

// WhyDropped returns why the last rule that the packet matched dropped it: targets that
// hand packets on drop those that they cannot.
func (r *Report) WhyDropped(path *installed.Path) string {
	rule := r.Rule(path, r.Path[len(r.Path)-1])
	if rule == nil {
		return "by something other than meshtables"
	}
	switch rule.Target.(type) {
	case iptables.TProxy:
		return "TPROXY drops packets if no transparent socket listens on its port"
	case iptables.Redirect:
		return fmt.Sprintf("REDIRECT drops packets from interfaces without an %s address, and %s has none", r.Sent.Family(), r.Sent.In)
	}
	if rule.Origin == (iptables.Origin{}) {
		return "by something other than meshtables"
	}
	return "by " + rule.Origin.String()
}

// Agrees reports whether the packet matched the same rules as in a walk. The kernel
// reports others too. Packets end early if TPROXY has no socket for them, and may go on
// after a rule that the walk cannot judge.
func (r *Report) Agrees(walk explain.Result) bool {
	want, walked := walk.Path, walkedPart(r.Path)
	if r.Dropped() && (walk.Verdict == explain.TProxied || walk.Verdict == explain.Unknown) {
		want = want[:min(len(want), len(walked))]
	}
	if walk.Verdict == explain.Unknown {
		walked = walked[:min(len(want), len(walked))]
	}
	return slices.EqualFunc(want, walked, func(a explain.Step, b nftables.TraceStep) bool {
		return a.Table == b.Table && a.Chain == b.Chain && a.Position == b.Position
	})
}

// walkedPart returns the steps that explain walks too. That depends on the built-in chain
// or, for other chains, on the built-in one before them in the path. In a walked table, a
// chain before any built-in one is not from iptables, and explain does not know it: it
// counts as walked, so that the paths differ.
func walkedPart(path []nftables.TraceStep) []nftables.TraceStep {
	var walked []nftables.TraceStep
	table, builtin := "", ""
	for _, s := range path {
		if s.Table != table {
			table, builtin = s.Table, iptables.Output
		}
		name := strings.TrimPrefix(strings.TrimPrefix(table, "ip "), "ip6 ")
		if slices.Contains(iptables.BuiltinChains(name), s.Chain) {
			builtin = s.Chain
		}
		if foreign.IsMet(name, builtin) {
			walked = append(walked, s)
		}
	}
	return walked
}
