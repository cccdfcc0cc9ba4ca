package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/kernel"
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
func (c *command) warnLive(ctx context.Context, s *subject) error {
	for _, fault := range s.rules.FaultTexts() {
		c.log.Warn(fault + "\n" + hintPrefix + "apply again: that repairs it")
	}
	if own := s.rules.Own(); len(own.Tables) == 0 {
		c.log.Warn("there are no rules of meshtables here")
	} else if !s.Complete {
		c.log.Warn("some rules are such as no options make, so it cannot be told where each comes from")
	}
	c.warnIgnored(&s.rules, func(t *iptables.Table, chain string) bool {
		return isWalked(t.Name) && (chain == iptables.Prerouting || chain == iptables.Output)
	})
	if s.backend != kernel.Native {
		return nil
	}
	beside, err := nftables.New().Load(ctx)
	if err != nil {
		return err
	}
	c.warnIgnored(&beside, func(*iptables.Table, string) bool { return false })
	return nil
}

// warnIgnored tells of tables with rules in built-in chains that are not walked.
func (c *command) warnIgnored(rules *iptables.Ruleset, walked func(t *iptables.Table, chain string) bool) {
	for _, t := range rules.Tables {
		n := 0
		for _, chain := range t.Chains {
			if chain.Policy != "" && !walked(&t, chain.Name) {
				n += len(chain.Rules)
			}
		}
		if n > 0 {
			c.log.Warn(fmt.Sprintf("%s table %s has rules that are not looked at (%d), which may drop or change packets too", t.Family, t.Name, n))
		}
	}
}

func isWalked(table string) bool {
	return table == iptables.Raw || table == iptables.Mangle || table == iptables.Nat
}

// warnForeign tells of rules of others that come before ours, of which the options
// that ours are made of tell nothing.
func (c *command) warnForeign(rules *iptables.Ruleset) {
	var places []string
	for _, f := range iptables.Families() {
		if first, ok := explain.FirstForeign(rules, f); ok {
			places = append(places, fmt.Sprintf("%s %s %s, rule %d", f, first.Table, first.Chain, first.Position))
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
