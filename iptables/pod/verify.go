package pod

import (
	"context"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/foreign"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel"
	"github.com/meshtables/meshtables/iptables/namespace"
	"github.com/meshtables/meshtables/iptables/sysctl"
	"github.com/meshtables/meshtables/iptables/verify"
)

// Verification compares what is installed with a plan.
type Verification struct {
	// Result is "as wanted" or "different".
	Result  string `json:"result"`
	Backend string `json:"backend"`
	// Source says where the options come from, and Options are those that differ from their
	// defaults; see [capture.Wanted].
	Source  string   `json:"source"`
	Options []string `json:"options"`
	// Mesh and Dataplane are the policy's. Replaces is [capture.Title] of another policy whose
	// rules are installed instead.
	Mesh      string `json:"mesh"`
	Dataplane string `json:"dataplane"`
	Replaces  string `json:"replaces,omitempty"`
	// Only is set if one thing alone differs: "backend" if all wanted rules are in
	// another backend, "comments" if packets notice no difference.
	Only string `json:"only,omitempty"`
	// Faults say what is wrong with the table itself, a sentence each.
	Faults []string            `json:"faults,omitempty"`
	Rules  []verify.Difference `json:"rules,omitempty"`
	// Elsewhere are our rules in other backends, where none should be.
	Elsewhere []Misplaced `json:"elsewhere,omitempty"`
	// Sets are the sets of addresses that rules look up, where they differ.
	Sets []SetDifference `json:"sets,omitempty"`
	// Routing are the commands of ip(8) that would make the routing as wanted.
	Routing []string `json:"routing,omitempty"`
	// Sysctls are the commands of sysctl(8) that would make the settings as wanted.
	Sysctls []string `json:"sysctls,omitempty"`
	// Undelivered says which routing rules of others keep packets of TPROXY from the proxy, a
	// sentence each.
	Undelivered []string `json:"undelivered,omitempty"`
	// Foreign is what foreign rules do to traffic that should be captured.
	Foreign []Interference `json:"foreign,omitempty"`

	// Policy is what is compared with, and Plan what it wants here.
	Policy capture.Policy `json:"-"`
	Plan   *Plan          `json:"-"`
	// Advice is settings that would help, and without which rules are as wanted.
	Advice []iptables.Sysctl `json:"-"`
	// Warnings are about foreign rules of which nobody can tell what they do.
	Warnings []string `json:"-"`
	// Unheard is traffic of virtual machines that the proxy does not get. Rules are as wanted
	// with it.
	Unheard []Unheard `json:"-"`
	// Candidates are the candidates of [Found].
	Candidates []kernel.Candidate `json:"-"`
	// Facts are those of the [Plan] that [VerifyAsked] makes.
	Facts []string `json:"-"`
	// Forgotten says that nobody knows the options that were asked for: there is a digest
	// only, and it is not that of these rules.
	Forgotten bool `json:"-"`
}

// Misplaced is what a backend has of ours although it should have nothing.
type Misplaced struct {
	Backend string              `json:"backend"`
	Faults  []string            `json:"faults,omitempty"`
	Rules   []verify.Difference `json:"rules"`
}

// Interference is what a foreign rule does to traffic that should be captured.
type Interference struct {
	Family string `json:"family"`
	// Direction is "in" or "out", Traffic the kind of traffic, such as "tcp".
	Direction string         `json:"direction"`
	Traffic   string         `json:"traffic"`
	Effect    explain.Effect `json:"effect"`
	// Sometimes says that chance decides for each connection.
	Sometimes bool `json:"sometimes,omitempty"`
	// Table, Chain, Position and Rule are the foreign rule; position 0 is the policy DROP.
	Table    string `json:"table"`
	Chain    string `json:"chain"`
	Position int    `json:"position"`
	Rule     string `json:"rule"`
	// Doubtful says that the rule may come after ours instead.
	Doubtful bool `json:"doubtful,omitempty"`
	// Mend is a command that takes the rule away.
	Mend string `json:"mend,omitempty"`
	// Text says all this in a sentence.
	Text string `json:"text"`
}

func newInterference(f foreign.Finding) Interference {
	return Interference{
		Family: f.Family.String(), Direction: f.Direction, Traffic: f.Traffic, Effect: f.Effect, Sometimes: f.Sometimes,
		Table: f.By.Table, Chain: f.By.Chain, Position: f.By.Position, Rule: f.By.Rule.String(), Doubtful: f.By.Doubtful,
		Mend: f.Command, Text: f.String(),
	}
}

// The values of [Verification.Only].
const (
	OnlyBackend  = "backend"
	OnlyComments = "comments"
)

// IsAsWanted reports whether nothing differs.
func (v *Verification) IsAsWanted() bool {
	return len(v.Faults) == 0 && len(v.Rules) == 0 && len(v.Elsewhere) == 0 && len(v.Sets) == 0 && len(v.Routing) == 0 &&
		len(v.Sysctls) == 0 && len(v.Undelivered) == 0 && len(v.Foreign) == 0
}

// Verify compares what is installed, all of it, with a plan, in the form of
// [Found.Compared].
func Verify(ctx context.Context, ns *namespace.Namespace, f *Found, policies capture.Policies, p *Plan) (Verification, error) {
	return f.verify(ctx, ns, policies, p, Given)
}

// Compare is [Verify] without judging what foreign rules do, which takes its time where there
// are thousands of them.
func Compare(ctx context.Context, ns *namespace.Namespace, f *Found, policies capture.Policies, p *Plan) (Verification, error) {
	return f.compare(ctx, ns, policies, p, Given)
}

// verify compares with a plan whose options come from a source, and judges foreign rules.
func (f *Found) verify(ctx context.Context, ns *namespace.Namespace, policies capture.Policies, p *Plan, source string) (Verification, error) {
	v, err := f.compare(ctx, ns, policies, p, source)
	if err != nil {
		return v, err
	}
	path := f.Path(f.Compared().Form)
	findings, err := Judge(ctx, ns, p.Policy, &path, p.Host)
	if err != nil {
		return v, err
	}
	v.addFindings(findings)
	if len(v.Foreign) > 0 {
		v.Only = ""
	}
	want := kernel.InForm(path.Form, p.Rules)
	if v.Unheard, err = FindUnheard(ctx, ns, p, &want); err != nil {
		return v, err
	}
	v.conclude()
	return v, nil
}

func (f *Found) compare(ctx context.Context, ns *namespace.Namespace, policies capture.Policies, p *Plan, source string) (Verification, error) {
	v := Verification{
		Candidates: f.Candidates, Source: source, Options: append([]string{}, p.Wanted.Arguments()...),
		Policy: p.Policy, Plan: p, Mesh: p.Policy.Mesh(), Dataplane: p.Policy.Dataplane(),
	}
	if _, other, ok := installedOther(policies, p.Policy, f.Ours); ok {
		v.Replaces = capture.Title(other)
	}
	held, err := f.held(ctx, p)
	if err != nil {
		return v, err
	}
	v.Sets = held.differences()
	there, err := f.Routing()
	if err != nil {
		return v, err
	}
	changes, err := there.Diff(p.Routing.WithMembers(held.want))
	if err != nil {
		return v, err
	}
	needed, advised, err := sysctl.Diff(ns, p.Sysctls)
	if err != nil {
		return v, err
	}
	for _, s := range needed {
		v.Sysctls = append(v.Sysctls, s.String())
	}
	for _, s := range advised {
		v.Advice = append(v.Advice, s.Sysctl)
	}
	at := f.Compared()
	want, path := kernel.InForm(at.Form, p.Rules), f.Path(at.Form)
	v.Backend, v.Faults, v.Rules = at.Name, installed.Texts(path.Faults), verify.Rules(&want, &path)
	var others []installed.Backend
	for _, other := range f.Ours {
		if other.Form != at.Form {
			others = append(others, other)
			v.Elsewhere = append(v.Elsewhere, Misplaced{
				Backend: other.Name,
				Faults:  installed.Texts(other.Faults),
				Rules:   append([]verify.Difference{}, verify.Rules(&iptables.Ruleset{}, installed.Alone(other.Rules, other.Ownership))...),
			})
		}
	}
	if len(changes) == 0 {
		v.Undelivered = undelivered(there, p.Routing)
	}
	for _, change := range changes {
		v.Routing = append(v.Routing, change.String())
	}
	v.conclude()
	if len(v.Sets)+len(changes)+len(v.Sysctls)+len(v.Undelivered) == 0 {
		v.Only = onlyDifference(p, &want, &path, others)
	}
	return v, nil
}

// addFindings adds what foreign rules do. Where nobody can tell, that is a warning.
func (v *Verification) addFindings(all []foreign.Finding) {
	for _, f := range all {
		if f.IsHarm() {
			v.Foreign = append(v.Foreign, newInterference(f))
		} else {
			v.Warnings = append(v.Warnings, WarningsOf([]foreign.Finding{f})...)
		}
	}
}

// conclude sets the result.
func (v *Verification) conclude() {
	v.Result = "different"
	if v.IsAsWanted() {
		v.Result = "as wanted"
	}
}

// onlyDifference returns the one thing that differs from the plan, as [Verification.Only],
// or "" if it is something else, or more than one thing.
func onlyDifference(p *Plan, want *iptables.Ruleset, have *installed.Path, others []installed.Backend) string {
	switch {
	case len(have.Faults) > 0:
		return ""
	case len(others) == 0 && verify.CommentsOnly(want, have):
		return OnlyComments
	case len(others) == 1 && len(have.Own().Tables) == 0 && len(others[0].Faults) == 0:
		there := kernel.InForm(others[0].Form, p.Rules)
		if len(verify.Rules(&there, installed.Alone(others[0].Rules, others[0].Ownership))) == 0 {
			return OnlyBackend
		}
	}
	return ""
}
