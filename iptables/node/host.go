package node

import (
	"context"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel"
	"github.com/meshtables/meshtables/iptables/namespace"
	"github.com/meshtables/meshtables/iptables/pod"
)

// HostSide is what the pods of a policy need in the machine's own network namespace.
type HostSide struct {
	// Policy is that of the rules there, and Pods that of the pods which need them.
	Policy, Pods capture.Policy
	// Sets says that the sets of a plan have to hold these pods.
	Sets func(pods []netip.Addr) pod.SetsOf
	// Command returns the command that makes everything as it was compared with, and adds pods
	// to the sets.
	Command func(v *pod.Verification, pods []netip.Addr) string
}

// HostReport is what the audit says about the machine's own network namespace.
type HostReport struct {
	State     State  `json:"state"`
	Mesh      string `json:"mesh"`
	Dataplane string `json:"dataplane"`
	// Forms are the forms in which rules of the host's side are.
	Forms    []installedForm `json:"forms"`
	Rules    int             `json:"rules"`
	Problems []Problem       `json:"problems"`
	// Source says where the options come from that are compared with, and Options are those.
	Source  string   `json:"source,omitempty"`
	Options []string `json:"options,omitempty"`
	// Verification is what verify says, if the audit has compared.
	Verification *pod.Verification `json:"verification,omitempty"`
}

func (r *HostReport) add(k Kind, text, hint string) {
	r.Problems = append(r.Problems, Problem{k, text, hint})
}

// AuditHost looks at the machine's own network namespace, given what the audit has said of all
// pods. It is nil if the machine has no host side and no pod that needs one, or if this process is
// in another network namespace than the machine's first.
func (a *Auditor) AuditHost(ctx context.Context, pods []Report) *HostReport {
	if !a.Node.isOwn() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ns := namespace.Own()
	defer ns.Close()
	x := hostExamination{a: a, ns: ns, pods: a.Host.needing(pods)}
	r := &HostReport{
		State: AsWanted, Mesh: a.Host.Policy.Mesh(), Dataplane: a.Host.Policy.Dataplane(), Forms: []installedForm{}, Problems: []Problem{},
	}
	if there, err := x.look(ctx, r); err != nil {
		r.State = Unreadable
		r.add(Failed, err.Error(), "")
	} else if !there {
		return nil
	}
	return r
}

// isOwn reports whether this process is in the machine's own network namespace.
func (n *Node) isOwn() bool {
	first, err := identify(n.processFile(1))
	own, ownErr := identify(filepath.Join(n.Processes, "self", "ns", "net"))
	return err == nil && ownErr == nil && first == own
}

// needing returns the addresses of the pods that have rules of the policy.
func (h *HostSide) needing(pods []Report) []netip.Addr {
	var all []netip.Addr
	for _, r := range pods {
		if r.Mesh != h.Pods.Mesh() || r.Dataplane != h.Pods.Dataplane() || r.Rules == 0 {
			continue
		}
		for _, text := range r.Addresses {
			if a, err := netip.ParseAddr(text); err == nil {
				all = append(all, a)
			}
		}
	}
	return all
}

// hostExamination is looking at the machine's own network namespace.
type hostExamination struct {
	a    *Auditor
	ns   *namespace.Namespace
	pods []netip.Addr
}

// look compares what is there. It reports whether there is anything to say.
func (x *hostExamination) look(ctx context.Context, r *HostReport) (there bool, err error) {
	policy := x.a.Host.Policy
	policies := append(slices.Clone(x.a.Policies), policy)
	f, err := pod.Find(ctx, x.ns, policies.Ownership(), kernel.Auto)
	if err != nil {
		return true, err
	}
	if len(f.Ours) == 1 && f.Ours[0].Form == installed.Legacy {
		if f, err = pod.Find(ctx, x.ns, policies.Ownership(), kernel.Legacy); err != nil {
			return true, err
		}
	}
	side, ok := f.AskedPolicy(policies)
	if len(x.pods) == 0 && (!ok || side.Name() != policy.Name()) {
		return false, nil
	}
	if f.Unread != nil {
		return true, f.Unread
	}
	defaults, err := capture.Parse(policy, nil)
	if err != nil {
		return true, err
	}
	v, err := pod.VerifyAsked(ctx, x.ns, &f, policies, policy, defaults, x.a.Host.Sets(x.pods))
	if err != nil {
		return true, err
	}
	for _, b := range f.Ours {
		own := b.Own()
		r.Forms = append(r.Forms, installedForm(b.Name))
		r.Rules += own.Len()
	}
	r.Source, r.Options = v.Source, v.Options
	if x.a.Verbose {
		r.Verification = &v
	}
	if r.Rules == 0 && givenByOthers(&f.Namespace, v.Plan) {
		return false, nil
	}
	x.judge(r, &v)
	return true, nil
}

// judge says what is wrong.
func (x *hostExamination) judge(r *HostReport, v *pod.Verification) {
	if v.IsAsWanted() || v.Only == pod.OnlyComments {
		return
	}
	r.State = Different
	hint := "to mend it: " + x.a.Host.Command(v, x.pods)
	// One hint is enough for all that the command mends.
	mendable := func(k Kind, text string) {
		if text != "" {
			r.add(k, text, hint)
			hint = ""
		}
	}
	switch {
	case r.Rules == 0:
		mendable(NoRules, "no rules: health probes of pods go to the proxy")
	case v.Replaces != "":
		mendable(OtherMesh, "there are rules of "+v.Replaces)
	default:
		mendable(Drift, v.Drift())
	}
	for _, m := range v.Elsewhere {
		mendable(TwoForms, "rules are in "+m.Backend)
	}
	for _, d := range v.Sets {
		if !d.Absent || r.Rules > 0 {
			mendable(ProbeSet, d.Words())
		}
	}
	mendable(Routing, v.RoutingWords())
	for _, f := range v.Foreign {
		hint := ""
		if f.Mend != "" {
			hint = "to take it away: " + f.Mend
		}
		r.add(ForeignRules, f.Text, hint)
	}
	if len(r.Problems) == 0 {
		r.add(Drift, strings.Join(v.Words(), "; "), hint)
	}
}

// givenByOthers reports whether tables of others give the source address that a plan's rules would
// give, as Istio's agent does by a table of its own where it writes nf_tables'.
func givenByOthers(n *installed.Namespace, p *pod.Plan) bool {
	addresses := p.Rules.SourceAddresses()
	return slices.ContainsFunc(n.Others, func(t iptables.Table) bool {
		return slices.ContainsFunc(t.Chains, func(c iptables.Chain) bool {
			return slices.ContainsFunc(c.Rules, func(r iptables.Rule) bool {
				words := strings.Fields(r.String())
				return slices.ContainsFunc(addresses, func(a netip.Addr) bool { return slices.Contains(words, a.String()) })
			})
		})
	})
}
