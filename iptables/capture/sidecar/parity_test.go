package sidecar_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/tests/recorded"
)

// textIsTheReferences tells for which options the text is, to the letter: where
// the reference writes nothing bare into a built-in chain.
func textIsTheReferences(cfg sidecar.Config) bool {
	return cfg.Mode == sidecar.ModeRedirect &&
		len(cfg.ExcludedInterfaces) == 0 && len(cfg.VirtualInterfaces) == 0
}

func TestTextIsTheReferences(t *testing.T) {
	compared := 0
	for _, c := range recorded.Cases(t) {
		t.Run(c.Name, func(t *testing.T) {
			cfg := c.Config(t)
			if !textIsTheReferences(cfg) {
				return
			}
			compared++
			planned := form.IPTables(cfg.Plan(c.Host()).Rules)
			want := c.Ruleset(t)
			for _, f := range iptables.Families() {
				if diff := cmp.Diff(want.Save(f), planned.Save(f)); diff != "" {
					t.Errorf("%s: recorded (-), planned (+):\n%s", f, diff)
				}
			}
		})
	}
	if compared < 50 {
		t.Errorf("only %d texts were compared", compared)
	}
}

func TestRoutingIsTheReferences(t *testing.T) {
	for _, c := range recorded.Cases(t) {
		t.Run(c.Name, func(t *testing.T) {
			planned := c.Config(t).Plan(c.Host())
			if got, want := len(planned.Routing.Families), len(c.Rules); got != want {
				t.Errorf("rules for %d families, recorded are %d", got, want)
			}
			if got, want := len(planned.Routing.Addresses) > 0, slices.Contains(c.Loopback6, "::6/128"); got != want {
				t.Errorf("addresses on lo: %v, recorded %v", planned.Routing.Addresses, c.Loopback6)
			}
		})
	}
}

// TestEveryPlan holds what is true of whatever is planned.
func TestEveryPlan(t *testing.T) {
	for _, c := range recorded.Cases(t) {
		t.Run(c.Name, func(t *testing.T) {
			planned := c.Config(t).Plan(c.Host())
			if err := planned.Rules.Validate(); err != nil {
				t.Error(err)
			}
			for _, table := range planned.Rules.Tables {
				for _, chain := range table.Chains {
					for _, rule := range chain.Rules {
						if !sidecar.Ownership().OwnsRule(chain.Name, rule.Rule) {
							t.Errorf("%s %s: not ours: %s", table.Name, chain.Name, rule)
						}
						if rule.Origin.Option == "" {
							t.Errorf("%s %s: no origin: %s", table.Name, chain.Name, rule)
						}
					}
				}
			}
		})
	}
}
