package pod

import (
	"context"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel"
	"github.com/meshtables/meshtables/iptables/namespace"
	"github.com/meshtables/meshtables/iptables/verify"
)

// Verification compares what is installed with a plan.
type Verification struct {
	// Result is "as wanted" or "different".
	Result  string `json:"result"`
	Backend string `json:"backend"`
	// Only is set if one thing alone differs: "backend" if all wanted rules are in
	// another backend, "comments" if packets notice no difference.
	Only string `json:"only,omitempty"`
	// Faults say what is wrong with the table itself, a sentence each.
	Faults []string            `json:"faults,omitempty"`
	Rules  []verify.Difference `json:"rules,omitempty"`
	// Elsewhere are our rules in other backends, where none should be.
	Elsewhere []Misplaced `json:"elsewhere,omitempty"`
	// Routing are the commands of ip(8) that would make the routing as wanted.
	Routing []string `json:"routing,omitempty"`

	// Warnings are about what may keep packets from the rules.
	Warnings []string `json:"-"`
	// Candidates are the candidates of [Found].
	Candidates []kernel.Candidate `json:"-"`
}

// Misplaced is what a backend has of ours although it should have nothing.
type Misplaced struct {
	Backend string              `json:"backend"`
	Faults  []string            `json:"faults,omitempty"`
	Rules   []verify.Difference `json:"rules"`
}

// The values of [Verification.Only].
const (
	OnlyBackend  = "backend"
	OnlyComments = "comments"
)

// IsAsWanted reports whether nothing differs.
func (v *Verification) IsAsWanted() bool {
	return len(v.Faults) == 0 && len(v.Rules) == 0 && len(v.Elsewhere) == 0 && len(v.Routing) == 0
}

// Verify compares what is installed with a plan, in the form of [Found.Compared]. It fails
// if it cannot read something that may have rules of ours.
func Verify(ctx context.Context, ns *namespace.Namespace, p *Plan, backend string) (Verification, error) {
	f, err := Find(ctx, ns, p.Policy.Ownership(), backend)
	v := Verification{Candidates: f.Candidates}
	if err == nil {
		err = f.Unread
	}
	if err != nil {
		return v, err
	}
	there, err := f.Routing()
	if err != nil {
		return v, err
	}
	changes, err := there.Diff(p.Routing)
	if err != nil {
		return v, err
	}
	at := f.Compared()
	want, path := kernel.InForm(at.Form, p.Rules), f.Path(at.Form)
	v.Backend, v.Faults, v.Rules = at.Name, installed.Texts(path.Faults), verify.Rules(&want, &path)
	ours := path.Own()
	v.Warnings = ChainsFirst(&f.Namespace, at.Form, &ours)
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
	for _, change := range changes {
		v.Routing = append(v.Routing, change.String())
	}
	v.Result = "different"
	if v.IsAsWanted() {
		v.Result = "as wanted"
	}
	if len(changes) == 0 {
		v.Only = onlyDifference(p, &want, &path, others)
	}
	return v, nil
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
