package native

import (
	"fmt"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
)

// wantedChain is a chain of the native table as it should be.
type wantedChain struct {
	name     string
	base     bool
	attached tables.Attachment
	rules    []rule
}

// wantedChains returns the chains of both families as chains of one table, in the order
// of the packet path. Packets have to reach every chain (see form.Native): when a chain
// is read back, the jumps to it say what it is for.
func wantedChains(want iptables.Ruleset) ([]wantedChain, error) {
	var chains []wantedChain
	for _, table := range modelTables {
		v4, v6 := want.Table(iptables.IPv4, table), want.Table(iptables.IPv6, table)
		for _, name := range chainNames(v4, v6) {
			c := wantedChain{name: nameOf(table, name)}
			c.attached, c.base = attachmentOf(table, name)
			c.rules = bothFamilies(rulesFor(v4, name), rulesFor(v6, name), c.base)
			if len(c.rules) > 0 || !c.base {
				chains = append(chains, c)
			}
		}
	}
	for _, t := range want.Tables {
		if !slices.Contains(modelTables[:], t.Name) {
			return nil, fmt.Errorf("the native form has no table %s", t.Name)
		}
	}
	return chains, nil
}

// chainNames returns the chains of either table, each once.
func chainNames(tables ...*iptables.Table) []string {
	var names []string
	for _, t := range tables {
		if t == nil {
			continue
		}
		for _, c := range t.Chains {
			if !slices.Contains(names, c.Name) {
				names = append(names, c.Name)
			}
		}
	}
	return names
}

// rulesFor returns the rules of a chain, with native names in their jumps, or nil if
// there is no such chain.
func rulesFor(t *iptables.Table, name string) []iptables.Rule {
	if t == nil {
		return nil
	}
	c := t.Chain(name)
	if c == nil {
		return nil
	}
	rules := make([]iptables.Rule, len(c.Rules))
	for i, r := range c.Rules {
		r.Target = renamed(r.Target, func(chain string) string { return nameOf(t.Name, chain) })
		rules[i] = r
	}
	return rules
}

// bothFamilies merges the rules of both families into one list, each in its order, with
// shared rules once. A rule of one family is for any family if only that family's packets
// come there.
func bothFamilies(v4, v6 []iptables.Rule, base bool) []rule {
	if v4 == nil || v6 == nil {
		list := slices.Concat(tagged(v4, iptables.IPv4), tagged(v6, iptables.IPv6))
		for i := range list {
			if !base && !hasAddress(&list[i].rule) {
				list[i].family = anyFamily
			}
		}
		return list
	}
	var list []rule
	isShared := func(r iptables.Rule) bool { return r.Shared }
	for {
		n, m := slices.IndexFunc(v4, isShared), slices.IndexFunc(v6, isShared)
		if n < 0 || m < 0 {
			return append(append(list, tagged(v4, iptables.IPv4)...), tagged(v6, iptables.IPv6)...)
		}
		list = append(list, tagged(v4[:n], iptables.IPv4)...)
		list = append(list, tagged(v6[:m], iptables.IPv6)...)
		list = append(list, rule{family: anyFamily, rule: v4[n]})
		v4, v6 = v4[n+1:], v6[m+1:]
	}
}

func tagged(rules []iptables.Rule, f iptables.Family) []rule {
	list := make([]rule, len(rules))
	for i, r := range rules {
		list[i] = rule{family: f, rule: r}
	}
	return list
}
