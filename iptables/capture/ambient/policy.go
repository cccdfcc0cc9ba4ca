package ambient

import (
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/config"
)

// Policy is the policy of ambient mode.
type Policy struct{}

var _ capture.Policy = Policy{}

// Name implements [capture.Policy]; see [Name].
func (Policy) Name() string { return Name }

// Mesh implements [capture.Policy].
func (Policy) Mesh() string { return "istio" }

// Dataplane implements [capture.Policy].
func (Policy) Dataplane() string { return Name }

// Ownership implements [capture.Policy]; see [Ownership].
func (Policy) Ownership() iptables.Ownership { return Ownership() }

// Options implements [capture.Policy].
func (Policy) Options() capture.Options { return new(policyOptions) }

// Recognise implements [capture.Policy]; see [Recognise].
func (Policy) Recognise(rs iptables.Ruleset, form func(iptables.Plan) iptables.Ruleset) capture.Recognised {
	return Recognise(rs, form)
}

// policyOptions are [Options] as [capture.Options].
type policyOptions struct{ Options }

func (o *policyOptions) Read(flags *config.Flags, src config.Sources) (capture.Wanted, []string, error) {
	return o.Options.Read(flags, src)
}
