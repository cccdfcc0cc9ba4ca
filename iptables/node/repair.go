package node

import (
	"fmt"
	"strings"

	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/kernel"
	"github.com/meshtables/meshtables/iptables/pod"
)

// RepairMode is what an audit does about pods that are not captured as they ask to be.
type RepairMode int

// The modes.
const (
	LeaveAlone RepairMode = iota
	OnlyTell              // say what repairing would do
	DoRepair
	// OnlyMissed repairs pods that the plugin should have captured when they started, and that
	// have no rules.
	OnlyMissed
)

// Repair is what was done about a pod.
type Repair struct {
	Result RepairResult `json:"result"`
	// Text says what was done, or why not.
	Text string `json:"text"`
}

// RepairResult says whether a pod was repaired.
type RepairResult string

// The results.
const (
	Repaired     RepairResult = "repaired"
	WouldRepair  RepairResult = "would-repair"
	RepairFailed RepairResult = "failed"
	Left         RepairResult = "left" // nothing that repairing could do
)

// repair makes the rules those that the pod asks for, in one transaction. It leaves alone what
// is not in the mesh, and the rules of others. It reports whether it changed anything.
func (x *examination) repair() bool {
	r := x.report
	if r.State != Uncaptured && r.State != Different && !r.Has(InSandbox) {
		return false
	}
	if x.auditor.Repair == OnlyMissed && !x.isMissed() {
		return false
	}
	if why := x.beyond(); why != "" {
		r.Repair = &Repair{Left, why}
		return false
	}
	if x.auditor.Repair == OnlyTell {
		rules := kernel.InForm(x.form(), x.plan.Rules)
		r.Repair = &Repair{WouldRepair, fmt.Sprintf("would apply %d rules for %s", rules.Len(), strings.Join(pod.FamilyNames(x.plan.Rules.Families), " and "))}
		return false
	}
	applied, err := x.apply()
	if err != nil {
		r.Repair = &Repair{RepairFailed, err.Error()}
		return false
	}
	r.Repair = &Repair{Repaired, fmt.Sprintf("applied %d rules, by %s", applied.Rules, applied.Backend)}
	return true
}

// isMissed reports whether the plugin should have captured the pod, and nobody has.
func (x *examination) isMissed() bool { return x.report.State == Uncaptured && x.isByPlugin() }

// beyond returns why repairing can do nothing, or "".
func (x *examination) beyond() string {
	switch {
	case x.report.Has(InSandbox):
		return "rules of the node do not reach into a sandbox"
	case x.report.Has(Leftovers):
		return "pods outside the mesh are left alone"
	case x.plan == nil:
		return "nobody knows what the pod asks for"
	case x.report.Has(OtherMesh) && x.report.Rules == 0:
		return "the rules of another mesh are left alone"
	case x.wish.by == capture.Agent && x.report.Has(NotListening):
		return "the proxy of the node has no sockets here, so rules would cut the pod off: that is for the mesh's agent to mend"
	case x.report.Has(ProxyUser):
		return "the rules would capture what the proxy itself sends, because it runs as another user than the options say"
	case !x.compared.IsMendable():
		return "the rules of others are left alone"
	}
	return ""
}

// apply applies the plan, where the plugin would or where the rules are already.
func (x *examination) apply() (pod.Applied, error) {
	if err := pod.RefuseHost(x.ns, x.plan); err != nil {
		return pod.Applied{}, err
	}
	unmapped, err := pod.UnmappedIDs(x.ns, x.plan.Wanted.IDs())
	if err != nil {
		return pod.Applied{}, err
	}
	for _, u := range unmapped {
		return pod.Applied{}, fmt.Errorf("nothing was changed: %s: %d does not exist in the user namespace that owns the network namespace", u.Option, u.ID)
	}
	if err := x.plan.Validate(); err != nil {
		return pod.Applied{}, err
	}
	return pod.Apply(x.ctx, x.ns, x.plan, pod.Applying{Backend: x.backend(), Policies: x.auditor.Policies, ReplaceOthers: true})
}

// backend returns where the rules go.
func (x *examination) backend() string {
	if x.isByPlugin() && x.auditor.Settings.Backend() != kernel.Auto {
		return x.auditor.Settings.Backend()
	}
	if x.compared.Backend == kernel.Native {
		return kernel.Native
	}
	return kernel.Auto
}

// form returns the form that the rules would have.
func (x *examination) form() installedForm {
	if x.backend() == kernel.Native {
		return installedForm(kernel.Native)
	}
	return installedForm(x.compared.Backend)
}
