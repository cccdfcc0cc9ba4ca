package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel/nftables"
)

// warnUnused tells of options about what to capture, where the kernel is asked
// what is captured.
func (c *command) warnUnused() {
	var given []string
	for _, arg := range config.Default().Args() {
		option, _, _ := strings.Cut(arg, "=")
		if c.line.set.Changed(strings.TrimPrefix(option, "--")) {
			given = append(given, option)
		}
	}
	if given != nil {
		c.log.Warn("without effect, as the installed rules are explained: " + strings.Join(given, ", "))
	}
}

// warnLive tells of what --live does not take into account.
func (c *command) warnLive(s *subject, around nftables.Surroundings) {
	for _, fault := range installed.Texts(s.path.Faults) {
		c.log.Warn(fault + "\n" + hintPrefix + "apply again: that repairs it")
	}
	if own := s.path.Rules.Own(); len(own.Tables) == 0 {
		c.log.Warn("there are no rules of meshtables here")
	} else if !s.Complete {
		c.log.Warn("some rules are such as no options make, so it cannot be told where each comes from")
	}
	c.warnIgnored(slices.Concat(s.path.Rules.Tables, s.path.Before.Tables))
	c.warnFirst(around)
	for _, chain := range around.Chains {
		if !chain.First {
			c.log.Warn(chain.String() + " is not looked at; it may drop or change packets too")
		}
	}
}

// warnIgnored tells of tables with rules, or a policy that drops, in built-in chains that
// are not walked. Other base chains, which have a policy too, are told of one by one.
func (c *command) warnIgnored(tables []iptables.Table) {
	for _, t := range tables {
		n := 0
		var dropping []string
		for _, chain := range t.Chains {
			if !slices.Contains(iptables.BuiltinChains(t.Name), chain.Name) || isWalked(t.Name, chain.Name) {
				continue
			}
			n += len(chain.Rules)
			if chain.Policy == iptables.Policy(iptables.Drop) {
				dropping = append(dropping, chain.Name)
			}
		}
		var ignored []string
		if n > 0 {
			ignored = append(ignored, fmt.Sprintf("rules that are not looked at (%d)", n))
		}
		if dropping != nil {
			ignored = append(ignored, fmt.Sprintf("policies DROP that are not looked at (%s)", strings.Join(dropping, ", ")))
		}
		if ignored != nil {
			c.log.Warn(fmt.Sprintf("%s table %s has %s, which may drop or change packets too", t.Family, t.Name, strings.Join(ignored, " and ")))
		}
	}
}

// isWalked reports whether explain walks through a built-in chain of a table.
func isWalked(table, chain string) bool {
	return slices.Contains([]string{iptables.Raw, iptables.Mangle, iptables.Nat}, table) &&
		(chain == iptables.Prerouting || chain == iptables.Output)
}

// warnFirst tells of chains that packets meet before rules of ours, and whose rules
// nobody here reads: they may do anything.
func (c *command) warnFirst(around nftables.Surroundings) {
	for _, chain := range around.Chains {
		if chain.First {
			c.log.Warn(chain.String() + " comes before rules of meshtables and is not looked at; it may take or drop packets\n" +
				hintPrefix + "ask the kernel about one connection, such as explain out 203.0.113.10:443 --trace")
		}
	}
}

// warnForeign tells of rules of others that come before ours, of which the options
// that ours are made of tell nothing.
func (c *command) warnForeign(path *installed.Path) {
	var places []string
	for _, f := range iptables.Families() {
		if first, ok := explain.FirstForeign(path, f); ok {
			what := fmt.Sprintf("rule %d", first.Position)
			if first.Position == 0 {
				what = "policy DROP"
			}
			places = append(places, fmt.Sprintf("%s %s %s, %s", f, first.Table, first.Chain, what))
		}
	}
	if places != nil {
		c.log.Warn(fmt.Sprintf("rules of others come before these (%s), which this table does not know\n"+
			hintPrefix+"ask about one connection, such as explain out 203.0.113.10:443 --live", strings.Join(places, "; ")))
	}
}

// warnElsewhere tells of an inbound connection to an address that the namespace does
// not have: no such packet comes in, other than for virtual machines behind the pod.
func (c *command) warnElsewhere(q *question, s *subject) {
	to := q.to.Addr()
	ofMachine := len(s.Config.VirtualInterfaces) > 0 && q.options.in != ""
	if !q.inbound || !to.IsValid() || to.IsLoopback() || ofMachine {
		return
	}
	var own []string
	for _, p := range s.addresses {
		a := p.Addr()
		if a == to {
			return
		}
		if iptables.FamilyOf(a) == iptables.FamilyOf(to) && iptables.IsReachable(a) {
			own = append(own, a.String())
		}
	}
	if own != nil {
		c.log.Warn(fmt.Sprintf("%s is no address of this network namespace, which has %s\n"+
			hintPrefix+"is this another pod, or %[1]s the address of a service?", to, strings.Join(own, ", ")))
	}
}
