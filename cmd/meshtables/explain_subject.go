package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/foreign"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel"
	"github.com/meshtables/meshtables/iptables/pod"
)

// subject is the rules to explain: the installed ones, or those of the options.
type subject struct {
	capture.Recognised
	path      installed.Path
	addresses []netip.Prefix
	// backend and form are those of the installed rules.
	backend string
	form    installed.Form
}

// subject reads the options, or with --live or --trace the kernel.
func (c *command) subject(ctx context.Context) (s subject, status int) {
	if !c.live && !c.trace {
		p, status := c.plan(ctx)
		planned, own := p.Ruleset(), c.line.policy.Ownership()
		s.Wanted, s.Host, s.addresses, s.path = p.Wanted, p.Host, p.Host.Addresses, *installed.Alone(own.ReadComments(planned), own)
		return s, status
	}
	c.warnUnused()
	addresses, err := host.Addresses(ctx, c.namespace)
	if err != nil {
		return s, c.failed(err)
	}
	f, err := c.find(ctx)
	if err != nil {
		return s, c.failed(err)
	}
	if len(f.Ours) > 1 {
		c.log.Warn(fmt.Sprintf("packets meet the rules of both %s and %[2]s; only those of %[1]s are explained\n"+
			hintPrefix+"apply again to keep the rules of one backend only",
			f.Ours[0].Name, f.Ours[1].Name))
	}
	live := f.Live()
	s.backend, s.form = live.Name, live.Form
	s.path = f.Path(live.Form)
	s.Recognised = c.line.policy.Recognise(live.Rules, func(plan iptables.Plan) iptables.Ruleset { return kernel.InForm(live.Form, plan) })
	if c.trace {
		if err := s.checkTrace(); err != nil {
			return s, c.failed(err)
		}
	}
	s.path.Rules, s.addresses = s.Rules, addresses
	c.warnLive(&s, &f.Installed)
	return s, exitDone
}

// warnUnused warns of options about what to capture: the installed rules are explained.
func (c *command) warnUnused() {
	var given []string
	for _, o := range c.line.flags.Policy() {
		if c.line.set.Changed(o.Name) && !o.Hidden {
			given = append(given, "--"+o.Name)
		}
	}
	if given != nil {
		c.log.Warn("these options have no effect, because the installed rules are explained: " + strings.Join(given, ", "))
	}
}

// warnLive warns of what --live does not take into account.
func (c *command) warnLive(s *subject, found *kernel.Installed) {
	for _, fault := range installed.Texts(s.path.Faults) {
		c.log.Warn(fault + "\n" + hintPrefix + "apply again to repair it")
	}
	ours := s.path.Own()
	if len(ours.Tables) == 0 {
		c.log.Warn("meshtables has no rules here")
	} else if !s.Complete {
		c.log.Warn("some rules are not recognised as rules that meshtables writes, so their options are unknown")
	}
	for _, ignored := range foreign.IgnoredOn(&s.path) {
		c.log.Warn(ignored.String() + ", which may drop or change packets too")
	}
	c.warn(pod.ChainsFirst(&found.Namespace, s.form, &ours))
	for _, chain := range found.Chains {
		if !foreign.ComesFirst(chain, s.form, &ours) {
			c.log.Warn(chain.String() + " is not checked; it may drop or change packets too")
		}
	}
}

// warnForeign warns of foreign rules before ours: the table shows only our options.
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
		c.log.Warn(fmt.Sprintf("foreign rules come before these (%s), and this table leaves them out\n"+
			hintPrefix+"ask about one connection, such as explain out 203.0.113.10:443 --live", strings.Join(places, "; ")))
	}
}

// warnElsewhere warns of an inbound connection to an address that the namespace does not
// have: no such packet comes in, except for virtual machines behind the pod.
func (c *command) warnElsewhere(q *question, s *subject) {
	to := q.to.Addr()
	ofMachine := s.Wanted.TakesForOthers() && q.options.in != ""
	if !q.inbound || !to.IsValid() || to.IsLoopback() || ofMachine {
		return
	}
	var own []string
	for _, p := range s.addresses {
		a := p.Addr()
		if a == to {
			return
		}
		if iptables.FamilyOf(a) == iptables.FamilyOf(to) && s.path.Ownership.IsReachable(a) {
			own = append(own, a.String())
		}
	}
	if own != nil {
		c.log.Warn(fmt.Sprintf("%s is not an address of this network namespace, which has %s\n"+
			hintPrefix+"is this the wrong pod, or %[1]s the address of a service?", to, strings.Join(own, ", ")))
	}
}
