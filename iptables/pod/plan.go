// Package pod does for the network namespace of a pod what the command line, a plugin of
// the container runtime and an audit have in common: it plans what is captured, applies it,
// finds what is installed, and compares the two. What there is to say about it comes
// back as sentences.
package pod

import (
	"context"
	"fmt"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// Plan is what is to be captured, and why.
type Plan struct {
	Policy capture.Policy
	Wanted capture.Wanted
	Host   host.Host
	// ResolvConf is the file that the name servers are from.
	ResolvConf host.File
	// Capture has the rules, the routing and the warnings.
	capture.Capture
}

// NewPlan reads what the options of a policy leave to the namespace and returns what follows from
// both. It changes nothing.
func NewPlan(ctx context.Context, ns *namespace.Namespace, policy capture.Policy, wanted capture.Wanted) (Plan, error) {
	p := Plan{Policy: policy, Wanted: wanted}
	var known bool
	needed, instead := wanted.NeedsNameServers()
	p.ResolvConf, known = resolvConf(ns, needed)
	var err error
	if p.Host, err = host.Discover(ctx, ns, p.ResolvConf); err != nil {
		return p, err
	}
	p.Capture = wanted.Plan(p.Host)
	if !known {
		warning := fmt.Sprintf("the captured name servers are this machine's (%s), as no process in the network namespace tells of others\n"+
			"hint: name a process of the pod with --network-namespace, or %s", p.ResolvConf, instead)
		p.Warnings = slices.Insert(slices.Clip(p.Warnings), 0, warning)
	}
	return p, nil
}

// resolvConf returns the file that the namespace's name servers are in: that of a process
// there. Of a network namespace alone, a process has to be looked for, if the name
// servers matter; without one it is the file of this machine, which is not known to be
// the right one.
func resolvConf(ns *namespace.Namespace, matters bool) (f host.File, known bool) {
	switch {
	case ns.PID() != 0:
		return host.ResolvConfOf(ns.PID()), true
	case ns.IsOwn() || !matters:
		return host.ResolvConf(), true
	}
	if f, ok := host.FindResolvConf(ns); ok {
		return f, true
	}
	return host.ResolvConf(), false
}

// Ruleset returns the rules in the form of iptables.
func (p *Plan) Ruleset() iptables.Ruleset { return form.IPTables(p.Rules) }

// Validate returns why the kernel would not take the rules, if it would not.
func (p *Plan) Validate() error {
	if err := p.Rules.Validate(); err != nil {
		return fmt.Errorf("nothing was changed, as the kernel would not take these rules: %w", err)
	}
	return nil
}

// FamilyNames returns the names of families.
func FamilyNames(families []iptables.Family) []string {
	var names []string
	for _, f := range families {
		names = append(names, f.String())
	}
	return names
}

// Facts returns what the plan follows from that no option says, a line each.
func (p *Plan) Facts() []string { return p.Wanted.Found(p.Host, p.ResolvConf.String()) }
