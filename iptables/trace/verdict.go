package trace

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
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
	o := outcome{verdict: explain.Bypassed}
	for _, step := range r.Path {
		rule, ours := r.find(path, step)
		switch {
		case rule != nil:
			o = r.after(o, rule.Target, ours)
		case step.Position == 0 && !step.Policy:
			o = outcome{verdict: explain.Unknown}
		}
	}
	return o.verdict, o.port
}

// outcome is what has become of a packet.
type outcome struct {
	verdict explain.Verdict
	port    uint16
}

// then returns the outcome after another one. The socket that TPROXY gave the packet to keeps
// it.
func (o outcome) then(next outcome) outcome {
	if o.verdict == explain.TProxied {
		return o
	}
	return next
}

// after returns the outcome after another target.
func (r *Report) after(o outcome, target iptables.Target, ours bool) outcome {
	by := func(captured explain.Verdict, port uint16) outcome {
		if !ours {
			captured = explain.Taken
		}
		return o.then(outcome{captured, r.portOf(port)})
	}
	switch t := target.(type) {
	case iptables.TProxy:
		return by(explain.TProxied, t.Port)
	case iptables.Redirect:
		return by(explain.Redirected, t.Ports.First)
	case iptables.ForeignTarget:
		switch t.Effect() {
		case iptables.Rewrites:
			return o.then(outcome{verdict: explain.Taken})
		case iptables.Unclear:
			return outcome{verdict: explain.Unknown}
		}
	case iptables.Statements:
		// A rule that ends halfway is not reported.
		for i := range t {
			o = r.after(o, t[i].Target, ours)
		}
	case iptables.Choice:
		// The report does not say what was chosen.
		for _, one := range t.All() {
			if r.after(o, one, ours) != o {
				return outcome{verdict: explain.Unknown}
			}
		}
	}
	return o
}

// Dropped reports whether the last rule that the packet matched dropped it.
func (r *Report) Dropped() bool { return len(r.Path) > 0 && r.Path[len(r.Path)-1].Dropped }

// portOf returns the port of a target. A target without a port keeps the packet's.
func (r *Report) portOf(port uint16) uint16 { return cmp.Or(port, r.Sent.DestinationPort) }

// Rule returns the rule of a step, or nil for a policy or a rule in no table of the path.
func (r *Report) Rule(path *installed.Path, step nftables.TraceStep) *iptables.Rule {
	rule, _ := r.find(path, step)
	return rule
}

// find returns the rule of a step as Rule does, and whether it is ours.
func (r *Report) find(path *installed.Path, step nftables.TraceStep) (rule *iptables.Rule, ours bool) {
	all := path.Tables(r.Sent.Family())
	i := slices.IndexFunc(all, func(t installed.Titled) bool { return t.Title == step.Table })
	if i < 0 {
		return nil, false
	}
	chain := all[i].Chain(step.Chain)
	if chain == nil || step.Position < 1 || step.Position > len(chain.Rules) {
		return nil, false
	}
	rule = &chain.Rules[step.Position-1]
	return rule, path.Owns(all[i].Own, step.Chain, *rule)
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

// Agrees reports whether the packet matched the same rules as in a walk, apart from those of
// others that do nothing to it. nf_tables does not report legacy rules. Packets end early if
// TPROXY has no socket for them, and may go on after a rule that the walk cannot judge.
func (r *Report) Agrees(path *installed.Path, walk explain.Result) bool {
	want := make([]place, 0, len(walk.Path))
	for _, s := range walk.Path {
		if s.Form != installed.Legacy && !(s.Foreign && isIdle(s.Rule.Target)) {
			want = append(want, place{s.Table, s.Chain, s.Position})
		}
	}
	var reported []place
	for _, s := range r.Path {
		if rule, ours := r.find(path, s); rule == nil || ours || !isIdle(rule.Target) {
			reported = append(reported, place{s.Table, s.Chain, s.Position})
		}
	}
	if r.Dropped() && (walk.Verdict == explain.TProxied || walk.Verdict == explain.Unknown) {
		want = want[:min(len(want), len(reported))]
	}
	if walk.Verdict == explain.Unknown {
		reported = reported[:min(len(want), len(reported))]
	}
	return slices.Equal(want, reported)
}

// Hides reports whether a legacy rule decides in a walk: nf_tables does not report what such
// a rule does, so the report does not show where the packet went.
func Hides(walk explain.Result) bool {
	return walk.By != nil && walk.By.Form == installed.Legacy
}

// place is where a rule is.
type place struct {
	table, chain string
	position     int
}

// isIdle reports whether a target itself does nothing to packets.
func isIdle(target iptables.Target) bool {
	switch t := target.(type) {
	case nil, iptables.Jump:
		return true
	case iptables.ForeignTarget:
		return t.Effect() == iptables.Passes
	case iptables.Statements:
		return !slices.ContainsFunc(t, func(part iptables.Rule) bool { return !isIdle(part.Target) })
	case iptables.Choice:
		return !slices.ContainsFunc(t.All(), func(one iptables.Target) bool { return !isIdle(one) })
	}
	return false
}
