package pod

import (
	"context"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel"
	"github.com/meshtables/meshtables/iptables/namespace"
	"github.com/meshtables/meshtables/iptables/routes"
)

// Asked is what apply has recorded as asked for. The zero value says that nothing is.
type Asked struct {
	// Wanted are the options; nil if they are not known.
	Wanted capture.Wanted
	// Digest is [installed.DigestOf] the rules that were written, if the options were too
	// long to be recorded; else it is empty.
	Digest string
	// Damaged says that somebody has changed the record, so that it says nothing.
	Damaged bool
}

// Asked returns what is recorded as asked for, read as options of the policy.
func (f *Found) Asked(policy capture.Policy) Asked {
	record := f.Records[policy.Name()]
	if len(record) == 0 {
		return Asked{}
	}
	if digest, ok := record.Digest(); ok {
		return Asked{Digest: digest}
	}
	if args, ok := record.Arguments(); ok {
		if wanted, err := capture.Parse(policy, args); err == nil {
			return Asked{Wanted: wanted}
		}
	}
	return Asked{Damaged: true}
}

// The values of [Verification.Source].
const (
	Given    = "given"    // what the caller asks for
	Recorded = "recorded" // what was recorded as asked for
	InRules  = "rules"    // the options found in the rules: are these whole in themselves?
	Defaults = "defaults" // without rules and record
)

// VerifyAsked is [Verify] with what was asked for of a policy: with the options that apply has
// recorded or, if there are none, with those found in its rules. If there are no rules either,
// it compares with the defaults. Warnings has those of the plan too. sets is [Plan.Sets], for
// the plan that was made, or nil.
func VerifyAsked(ctx context.Context, ns *namespace.Namespace, f *Found, policies capture.Policies, policy capture.Policy, defaults capture.Wanted, sets SetsOf) (Verification, error) {
	asked := f.Asked(policy)
	p, source, err := f.PlanAsked(ctx, ns, policies, policy, defaults)
	if err != nil {
		return Verification{}, err
	}
	if sets != nil {
		p.Sets = sets(&p)
	}
	v, err := f.verify(ctx, ns, policies, &p, source)
	if err != nil {
		return v, err
	}
	v.Warnings = slices.Concat(p.Warnings, v.Warnings)
	if source != InRules {
		v.Facts = p.Facts()
	}
	if asked.Damaged {
		v.Warnings = append(v.Warnings, "the record of what was asked for is left out, because somebody has changed it\n"+
			"hint: see it with nft list table inet meshtables_options, and apply again to write it anew")
	}
	if at := f.Compared(); asked.Digest != "" && asked.Digest != installed.DigestOf(at.Own()) {
		v.Faults = append(v.Faults, "the rules are not those that were written: their digest is not the recorded one")
		v.Only, v.Forgotten = "", true
		v.conclude()
	}
	return v, nil
}

// IsMendable reports whether applying with the compared options makes a difference. It does
// not move the foreign rules that are before ours.
func (v *Verification) IsMendable() bool {
	return !v.Forgotten && len(v.Faults)+len(v.Elsewhere)+len(v.Sets)+len(v.Routing)+len(v.Sysctls)+len(v.Rules) > 0
}

// AskedPlan returns what was asked for: the plan of the recorded options or, if there are
// none, of those found in the rules, for the families that have rules. It is not ok if there
// is neither.
func (f *Found) AskedPlan(ctx context.Context, ns *namespace.Namespace, policy capture.Policy) (p Plan, source string, ok bool, err error) {
	if recorded := f.Asked(policy).Wanted; recorded != nil {
		p, err = NewPlan(ctx, ns, policy, recorded)
		return p, Recorded, true, err
	}
	b := f.Live()
	if len(b.Own().Tables) == 0 {
		return p, "", false, nil
	}
	found := Recognise(policy, &b)
	p = Plan{Policy: policy, Wanted: found.Wanted, Host: found.Host}
	p.Capture = found.Wanted.Plan(found.Host)
	return p, InRules, true, nil
}

// Recognise reads the options from the rules of a backend; see [capture.Policy].
func Recognise(policy capture.Policy, b *installed.Backend) capture.Recognised {
	return policy.Recognise(b.Rules, func(plan iptables.Plan) iptables.Ruleset { return kernel.InForm(b.Form, plan) })
}

// PlanAsked returns the plan of a policy to compare with, and where its options come from; see
// [VerifyAsked].
func (f *Found) PlanAsked(ctx context.Context, ns *namespace.Namespace, policies capture.Policies, policy capture.Policy, defaults capture.Wanted) (p Plan, source string, err error) {
	if recorded := f.Asked(policy).Wanted; recorded != nil {
		p, err = NewPlan(ctx, ns, policy, recorded)
		return p, Recorded, err
	}
	if b, ok := f.withRules(); ok && isOf(policies, policy, &b) {
		p, err = f.presumed(ctx, ns, policy, b)
		return p, InRules, err
	}
	p, err = NewPlan(ctx, ns, policy, defaults)
	return p, Defaults, err
}

// withRules returns the backend whose rules to read options from: the one to compare, or
// else the first that has rules of ours.
func (f *Found) withRules() (installed.Backend, bool) {
	for _, b := range slices.Insert(slices.Clone(f.Ours), 0, f.Compared()) {
		if len(b.Own().Tables) > 0 {
			return b, true
		}
	}
	return installed.Backend{}, false
}

// isOf reports whether the rules of a backend are not those of another policy.
func isOf(policies capture.Policies, policy capture.Policy, b *installed.Backend) bool {
	_, _, other := installedOther(policies, policy, []installed.Backend{*b})
	return !other
}

// presumed returns the plan of the options found in rules. The captured name servers are
// those of the rules: whether these were right is nowhere in them.
func (f *Found) presumed(ctx context.Context, ns *namespace.Namespace, policy capture.Policy, b installed.Backend) (Plan, error) {
	found := Recognise(policy, &b)
	lookups, err := f.lookups()
	if err != nil {
		return Plan{}, err
	}
	addresses, err := host.Addresses(ctx, ns)
	if err != nil {
		return Plan{}, err
	}
	p := Plan{Policy: policy, Wanted: policy.Presume(found, lookups), Host: host.Host{Addresses: addresses, NameServers: found.Host.NameServers, Kernel: host.KernelVersion()}}
	p.Capture = p.Wanted.Plan(p.Host)
	return p, nil
}

// lookups returns our policy rules.
func (f *Found) lookups() ([]iptables.Lookup, error) {
	there, err := f.Routing()
	if err != nil {
		return nil, err
	}
	var lookups []iptables.Lookup
	for _, o := range there.Own() {
		if o.Kind == routes.Rule && o.Mask != 0 {
			lookups = append(lookups, iptables.Lookup{Mark: o.Mark, Mask: o.Mask, Table: o.Table})
		}
	}
	return lookups, nil
}
