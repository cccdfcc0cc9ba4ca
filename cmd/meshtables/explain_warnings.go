package main

import (
	"fmt"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/foreign"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel/nftables"
)

// warnUnused tells of options about what to capture, where the kernel is asked
// what is captured.
func (c *command) warnUnused() {
	var given []string
	for _, o := range c.line.flags.Policy() {
		if c.line.set.Changed(o.Name) && !o.Hidden {
			given = append(given, "--"+o.Name)
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
	for _, ignored := range foreign.IgnoredOn(&s.path) {
		c.log.Warn(ignored.String() + ", which may drop or change packets too")
	}
	c.warnFirst(around)
	for _, chain := range around.Chains {
		if !chain.First {
			c.log.Warn(chain.String() + " is not looked at; it may drop or change packets too")
		}
	}
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
		if first, ok := foreign.First(path, f); ok {
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
