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

// Refused is the verdict on a packet that the kernel did not send: no rule that it reports
// dropped it, and there is no route for it, or what reports nothing is in its way.
const Refused explain.Verdict = "refused"

// Verdict returns what the rules that the packet met came to: Unknown where one may have
// done what nobody here knows, such as DNAT. The rules are those of the path.
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

// Dropped reports whether the packet ended at the last rule that it met.
func (r *Report) Dropped() bool { return len(r.Path) > 0 && r.Path[len(r.Path)-1].Dropped }

// portOf returns the port of a target, which without one leaves the packet's.
func (r *Report) portOf(port uint16) uint16 { return cmp.Or(port, r.Sent.DestinationPort) }

// Rule returns the rule of a step, or nil if it is in no table of the path, or is a policy.
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

// TargetFailed reports whether what dropped the packet is a target that hands packets on,
// and could not.
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

// WhyDropped tells why the packet ended at the last rule that it met: targets that hand
// packets on drop those that they cannot.
func (r *Report) WhyDropped(path *installed.Path) string {
	rule := r.Rule(path, r.Path[len(r.Path)-1])
	if rule == nil {
		return "by what is not meshtables'"
	}
	switch rule.Target.(type) {
	case iptables.TProxy:
		return "TPROXY does that as long as no transparent socket listens on its port"
	case iptables.Redirect:
		return fmt.Sprintf("REDIRECT does that to what comes in by an interface without an %s address, as %s is here", r.Sent.Family(), r.Sent.In)
	}
	if rule.Origin == (iptables.Origin{}) {
		return "by what is not meshtables'"
	}
	return "as " + rule.Origin.String() + " asks for"
}

// Agrees reports whether the packet met the rules that a walk of it met; the kernel
// reports others too. What TPROXY has no socket for ends early, and what cannot be told
// may go on.
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

// walkedPart returns the steps that explain would walk too, which depends on the
// built-in chain: of other chains, on the one that comes before them in the path. In a
// table that is walked, a chain before any built-in one is none of iptables' and is not
// known to explain: it counts as walked, so that the paths differ.
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
