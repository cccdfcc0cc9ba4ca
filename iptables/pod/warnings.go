package pod

import (
	"context"
	"fmt"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/foreign"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// Warnings say what an answer about the rules of one backend leaves out.
func (f *Found) Warnings() []string {
	warnings := unread(&f.Installed)
	if len(f.Ours) > 1 {
		warnings = append(warnings, "there are rules in more than one backend, and packets meet all of them\n"+
			"hint: apply again to keep the rules of one backend only")
	}
	return warnings
}

// unread warns of what could not be read.
func unread(found *kernel.Installed) []string {
	if found.Unread == nil {
		return nil
	}
	return []string{"there may be more rules: " + found.Unread.Error()}
}

// ChainsFirst warns of chains that packets meet before our rules of a form. Their rules are
// not read, so they may do anything.
func ChainsFirst(found *installed.Namespace, f installed.Form, ours *iptables.Ruleset) []string {
	var warnings []string
	for _, chain := range found.Chains {
		if foreign.ComesFirst(chain, f, ours) {
			warnings = append(warnings, chain.String()+" comes before rules of meshtables and is not checked; it may take or drop packets\n"+
				"hint: ask the kernel about one connection, such as explain out 203.0.113.10:443 --trace")
		}
	}
	return warnings
}

// afterwards warns, after a change, of what may keep packets from the rules, and of rules
// that see no packet for the proxy. It does not reorder foreign rules.
func afterwards(ctx context.Context, ns *namespace.Namespace, choice kernel.Choice, report kernel.Report) ([]string, error) {
	found, form := report.Before, kernel.FormOf(choice.Backend)
	warnings := ChainsFirst(&found.Namespace, form, &choice.Rules)
	path := found.Path(form)
	if !foreign.IsOn(&path) {
		return warnings, nil
	}
	if report.Changed {
		var err error
		if found, err = kernel.ReadBy(ctx, ns, choice.Backend); err != nil {
			return warnings, err
		}
		path = found.Path(form)
	}
	for i := range path.Rules.Tables {
		t := &path.Rules.Tables[i]
		for _, s := range foreign.Shadows(&path, t) {
			warnings = append(warnings, fmt.Sprintf("%s %s %s, rule %d (%s) gets no packets for the proxy, because of the foreign %s",
				t.Family, s.Table, s.Chain, s.Position, s.Rule.Rule, s.By))
		}
	}
	return warnings, nil
}
