// Package pod works on the network namespace of a pod. It has what the command line, a
// plugin of the container runtime and an audit share: it plans what to capture, applies
// the plan, finds what is installed, and compares the two. Its warnings are sentences.
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

// Plan is what to capture, and why.
type Plan struct {
	Policy capture.Policy
	Wanted capture.Wanted
	Host   host.Host
	// ResolvConf is the file that names the name servers.
	ResolvConf host.File
	// Capture has the rules, the routing and the warnings.
	capture.Capture
	// Sets returns what the named sets that the rules look up are to hold, given what they
	// hold. Without it they are left as they are.
	Sets func(have []iptables.AddressSet) []iptables.AddressSet
}

// NewPlan reads the namespace and returns what follows from it and from a policy's options.
// It changes nothing.
func NewPlan(ctx context.Context, ns *namespace.Namespace, policy capture.Policy, wanted capture.Wanted) (Plan, error) {
	p := Plan{Policy: policy, Wanted: wanted}
	var known bool
	needed, instead := wanted.NeedsNameServers()
	p.ResolvConf, known = resolvConf(ns, needed)
	var err error
	if p.Host, err = host.Discover(ctx, ns, p.ResolvConf); err != nil {
		return p, err
	}
	if wanted.NeedsInterfaces() {
		if p.Host.Interfaces, err = host.FindUplinks(ctx, ns); err != nil {
			return p, err
		}
	}
	p.Capture = wanted.Plan(p.Host)
	if !known {
		warning := fmt.Sprintf("the captured name servers are this machine's (%s), because no process in the network namespace has a resolv.conf\n"+
			"hint: name a process of the pod with --network-namespace, or %s", p.ResolvConf, instead)
		p.Warnings = slices.Insert(slices.Clip(p.Warnings), 0, warning)
	}
	return p, nil
}

// resolvConf returns the file with the namespace's name servers: that of a process there.
// If only the network namespace is named and the name servers matter, it looks for a
// process. If there is none, it returns this machine's file, and known is false: it may be
// the wrong one.
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

// Ruleset returns the rules in iptables' form.
func (p *Plan) Ruleset() iptables.Ruleset { return form.IPTables(p.Rules) }

// Validate returns an error if the kernel would refuse the rules.
func (p *Plan) Validate() error {
	if err := p.Rules.Validate(); err != nil {
		return fmt.Errorf("nothing was changed: the kernel would refuse these rules: %w", err)
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

// Facts returns what else the plan depends on, besides the options, a line each.
func (p *Plan) Facts() []string { return p.Wanted.Found(p.Host, p.ResolvConf.String()) }
