package node

import (
	"fmt"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/pod"
)

// installedForm is where rules are, by the name of the backend.
type installedForm = installed.Form

// judge says from the comparison what is wrong, and what would help although the rules are right.
func (x *examination) judge(found *pod.Found) {
	x.judgeState(found)
	for _, s := range x.compared.Advice {
		x.report.add(Setting, s.Without, "to mend it: nsenter --net="+x.pod.File+" "+s.String())
	}
	for _, u := range x.compared.Unheard {
		x.report.add(NotListening, u.Text, u.Hint)
	}
}

// judgeState says what is wrong.
func (x *examination) judgeState(found *pod.Found) {
	r, v := x.report, &x.compared
	r.Options, r.Verification = v.Options, v
	r.State = AsWanted
	switch {
	case x.isOthers(found):
	case v.IsAsWanted(), v.Only == pod.OnlyComments:
		return
	case r.Rules == 0:
		r.State = Uncaptured
		text := "no rules"
		if len(found.Ours) > 0 {
			text = "no rules, only empty chains"
		}
		r.add(NoRules, text, "")
		return
	default:
		x.judgeRules()
	}
	r.State = Different
	x.judgeForeign()
}

// judgeRules says how our rules differ.
func (x *examination) judgeRules() {
	r, v := x.report, &x.compared
	if text := v.Drift(); text != "" && !x.isOnlyElsewhere() {
		r.add(Drift, text, "")
	}
	if len(r.Forms) > 1 {
		var forms []string
		for _, f := range r.Forms {
			forms = append(forms, string(f))
		}
		r.add(TwoForms, "rules are in "+strings.Join(forms, " and "), "")
	}
	if text := v.RoutingWords(); text != "" {
		r.add(Routing, text, "")
	}
	for _, why := range v.Undelivered {
		r.add(Routing, why, "")
	}
	for _, command := range v.Sysctls {
		r.add(Setting, "needs "+command, "")
	}
}

// isOnlyElsewhere reports whether the wanted form has no rules, and another has.
func (x *examination) isOnlyElsewhere() bool {
	return len(x.compared.Elsewhere) > 0 && len(x.compared.Elsewhere) == len(x.report.Forms)
}

// judgeForeign says what foreign rules do.
func (x *examination) judgeForeign() {
	for _, f := range x.compared.Foreign {
		kind, hint := ForeignRules, ""
		if f.Position == 0 {
			kind = PolicyDrops
		}
		if f.Mend != "" {
			hint = "to take it away: nsenter --net=" + x.pod.File + " " + f.Mend
		}
		x.report.add(kind, f.Text, hint)
	}
}

// isOthers reports whether the rules are those of another dataplane than the wanted one, or of
// another mesh, and adds that.
func (x *examination) isOthers(found *pod.Found) bool {
	if x.wish.policy == nil {
		return false
	}
	if other := x.otherDataplane(found); other != nil {
		x.report.add(OtherMesh, "there are rules of "+capture.Title(other), "")
		return true
	}
	if x.report.Rules > 0 {
		return false
	}
	chain := foreignCapture(&found.Namespace)
	if chain == "" {
		return false
	}
	x.report.add(OtherMesh, "no rules of "+x.wish.policy.Mesh()+", but others send traffic to a proxy: "+chain,
		"rules of others are not removed by repairing")
	return true
}

// otherDataplane returns the policy that has rules there although the pod asks for another; nil if
// there is none.
func (x *examination) otherDataplane(found *pod.Found) capture.Policy {
	for _, b := range found.Ours {
		if p, ok := x.auditor.Policies.Other(x.wish.policy, &b.Rules); ok {
			return p
		}
	}
	return nil
}

// foreignCapture returns a chain of others that sends traffic to a port of the namespace as a
// mesh does, or "".
func foreignCapture(n *installed.Namespace) string {
	search := func(own iptables.Ownership, tables []iptables.Table) string {
		for _, t := range tables {
			for _, c := range t.Chains {
				for _, r := range c.Rules {
					if captures(r.Target) && !own.OwnsRule(c.Name, r) {
						return fmt.Sprintf("%s, %s %s", t.Family, t.Name, c.Name)
					}
				}
			}
		}
		return ""
	}
	for _, b := range n.Backends {
		if chain := search(n.Ownership, b.Rules.Tables); chain != "" {
			return chain
		}
	}
	return search(iptables.Ownership{}, n.Others)
}
