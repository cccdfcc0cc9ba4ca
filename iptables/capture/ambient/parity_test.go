package ambient_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/ambient"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/tests/recorded"
)

func TestTextIsTheReferences(t *testing.T) {
	for _, c := range recorded.AmbientPods(t) {
		t.Run(c.Name, func(t *testing.T) {
			planned := form.IPTables(c.Config(t).Plan(c.Host()).Rules)
			want := c.Ruleset(t)
			for _, f := range iptables.Families() {
				if diff := cmp.Diff(want.Save(f), planned.Save(f)); diff != "" {
					t.Errorf("%s: recorded (-), planned (+):\n%s", f, diff)
				}
			}
		})
	}
}

func TestRoutingIsTheReferences(t *testing.T) {
	for _, c := range recorded.AmbientPods(t) {
		t.Run(c.Name, func(t *testing.T) {
			r := c.Config(t).Plan(c.Host()).Routing
			var rules []string
			for range r.Families {
				rules = append(rules, fmt.Sprintf("%d:\tfrom all fwmark %#x/%#x lookup %d", r.Priority, r.Mark, r.Mask, r.Table))
			}
			if diff := cmp.Diff(c.Rules, rules); diff != "" {
				t.Errorf("recorded (-), planned (+):\n%s", diff)
			}
		})
	}
}

// TestEveryPlan holds what is true of whatever is planned.
func TestEveryPlan(t *testing.T) {
	for _, c := range recorded.AmbientPods(t) {
		t.Run(c.Name, func(t *testing.T) {
			planned := c.Config(t).Plan(c.Host())
			if err := planned.Rules.Validate(); err != nil {
				t.Error(err)
			}
			for _, table := range planned.Rules.Tables {
				for _, chain := range table.Chains {
					for _, rule := range chain.Rules {
						if !ambient.Ownership().OwnsRule(chain.Name, rule.Rule) {
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
