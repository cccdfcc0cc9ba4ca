package capture_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/capture/ambient"
	"github.com/meshtables/meshtables/iptables/capture/linkerd"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/tests/recorded"
)

const shared = "ISTIO_OUTPUT"

var policies = capture.Policies{sidecar.Policy{}, ambient.Policy{}, linkerd.Policy{}}

// known are rules of a policy.
type known struct {
	policy capture.Policy
	rules  iptables.Ruleset
}

// everyRuleset returns what the reference wrote in every recorded run, and what we plan for
// it in the native form.
func everyRuleset(t *testing.T) map[string]known {
	t.Helper()
	all := make(map[string]known)
	add := func(name string, p capture.Policy, written iptables.Ruleset, plan iptables.Plan) {
		all[name] = known{p, written}
		all[name+", native"] = known{p, form.Native(plan)}
	}
	for _, c := range recorded.Cases(t) {
		add("sidecar "+c.Name, sidecar.Policy{}, c.Ruleset(t), c.Config(t).Plan(c.Host()).Rules)
	}
	for _, c := range recorded.AmbientPods(t) {
		add("ambient "+c.Name, ambient.Policy{}, c.Ruleset(t), c.Config(t).Plan(c.Host()).Rules)
	}
	for _, c := range recorded.LinkerdCases(t) {
		add("linkerd "+c.Name, linkerd.Policy{}, c.Commented(t), c.Config(t).Plan(c.Host()).Rules)
	}
	return all
}

// Of all recorded runs it is known whose rules they are. So it is without any one chain, and
// of the chain alone that both of Istio's policies have.
func TestInstalled(t *testing.T) {
	for name, test := range everyRuleset(t) {
		t.Run(name, func(t *testing.T) {
			wantInstalled(t, "whole", test.rules, test.policy)
			for _, damaged := range chainNames(test.rules) {
				wantInstalled(t, "without "+damaged, filtered(test.rules, func(chain string) bool { return chain != damaged }), test.policy)
			}
			if test.policy.Ownership().Owns(shared) {
				wantInstalled(t, shared+" alone", filtered(test.rules, func(chain string) bool { return chain == shared }), test.policy)
			}
		})
	}
}

// So it is without any one rule, and with foreign rules among them.
func TestInstalledDamaged(t *testing.T) {
	foreign := []iptables.Rule{{Target: iptables.Accept}, {Target: iptables.Return}}
	for name, test := range everyRuleset(t) {
		t.Run(name, func(t *testing.T) {
			for at := range test.rules.Len() {
				n := -1
				damaged := mapped(test.rules, func(_ string, rules []iptables.Rule) []iptables.Rule {
					return slices.DeleteFunc(slices.Clone(rules), func(iptables.Rule) bool { n++; return n == at })
				})
				wantInstalled(t, fmt.Sprint("without rule ", at), damaged, test.policy)
			}
			wantInstalled(t, "beside foreign rules", mapped(test.rules, func(_ string, rules []iptables.Rule) []iptables.Rule {
				return slices.Concat(foreign, rules)
			}), test.policy)
		})
	}
}

// Where rules of another policy are expected, it is known whose are there instead.
func TestOther(t *testing.T) {
	for name, test := range everyRuleset(t) {
		for _, expected := range policies {
			other, ok := policies.Other(expected, &test.rules)
			if want := expected != test.policy; ok != want || ok && other != test.policy {
				t.Errorf("%s, where those of %s are expected: got %T, %t", name, expected.Name(), other, ok)
			}
		}
	}
}

// Where nothing is, or nothing but what both have, it is not known.
func TestInstalledUnknown(t *testing.T) {
	jump := iptables.Rule{Target: iptables.Jump{Chain: shared}}
	both := iptables.Ruleset{Tables: []iptables.Table{iptables.NewTable(iptables.IPv4, iptables.Nat)}}
	both.Tables[0].Append(iptables.Output, jump)
	both.Tables[0].Append(shared, iptables.Rule{Target: iptables.Return})
	for _, rules := range []iptables.Ruleset{{}, both} {
		if p, ok := policies.Installed(&rules); ok {
			t.Errorf("got %T of\n%s", p, rules.Save(iptables.IPv4))
		}
	}
}

func wantInstalled(t *testing.T, what string, rules iptables.Ruleset, want capture.Policy) {
	t.Helper()
	if got, ok := policies.Installed(&rules); !ok || got != want {
		t.Errorf("%s: got %T, %t, want %T of\n%s%s", what, got, ok, want, rules.Save(iptables.IPv4), rules.Save(iptables.IPv6))
	}
}

// filtered returns the chains for which keep is true.
func filtered(rs iptables.Ruleset, keep func(chain string) bool) iptables.Ruleset {
	var some iptables.Ruleset
	for _, t := range rs.Tables {
		t.Chains = slices.DeleteFunc(slices.Clone(t.Chains), func(c iptables.Chain) bool { return !keep(c.Name) })
		some.Tables = append(some.Tables, t)
	}
	return some
}

// mapped returns the chains with other rules.
func mapped(rs iptables.Ruleset, to func(chain string, rules []iptables.Rule) []iptables.Rule) iptables.Ruleset {
	var other iptables.Ruleset
	for _, t := range rs.Tables {
		t.Chains = slices.Clone(t.Chains)
		for i := range t.Chains {
			t.Chains[i].Rules = to(t.Chains[i].Name, t.Chains[i].Rules)
		}
		other.Tables = append(other.Tables, t)
	}
	return other
}

// chainNames returns the names of the policy's chains, each once.
func chainNames(rs iptables.Ruleset) []string {
	var names []string
	for _, t := range rs.Tables {
		for _, c := range t.Chains {
			if !slices.Contains(names, c.Name) && !slices.Contains(iptables.BuiltinChains(t.Name), c.Name) {
				names = append(names, c.Name)
			}
		}
	}
	return names
}
