package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/interceptor"
	"github.com/meshtables/meshtables/iptables/kernel"
	"github.com/meshtables/meshtables/iptables/pod"
	"github.com/meshtables/meshtables/iptables/routes"
)

// subject is the rules to explain: the installed ones, or those of the options.
type subject struct {
	capture.Recognised
	path      installed.Path
	addresses []netip.Prefix
	// intended are the installed rules as they should be; nil for planned ones.
	intended *explain.Intended
	// listeners are the listening sockets, once they are read. routing is what was read.
	listeners *host.Listeners
	routing   *routes.State
	// interceptors are what others run beside the installed rules; nil if there is nothing.
	interceptors *interceptor.Found
	// interfaces are the addresses of each interface, once they are read.
	interfaces map[string][]netip.Addr
	// backend is that of the installed rules.
	backend string
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
	s.backend, s.path = live.Name, f.Path(live.Form)
	c.line.policy = c.policyOr(f.InstalledPolicy(policies()))
	s.Recognised = pod.Recognise(c.line.policy, &live)
	if s.routing, err = f.Routing(); err != nil {
		return s, c.failed(err)
	}
	s.path.Rules, s.addresses = s.Rules, addresses
	if err := c.compareSubject(ctx, &s, &f); err != nil {
		return s, c.failed(err)
	}
	if c.trace {
		if err := s.checkTrace(); err != nil {
			return s, c.failed(err)
		}
	}
	c.warnLive(&s)
	if ours := s.path.Own(); len(ours.Tables) > 0 {
		s.interceptors = c.readInterceptors(ctx)
	}
	return s, exitDone
}

// hasOwn reports whether any rule is ours.
func (s *subject) hasOwn() bool {
	own := s.path.Own()
	return len(own.Tables) > 0
}

// compareSubject compares the installed rules with what was asked for.
func (c *command) compareSubject(ctx context.Context, s *subject, f *pod.Found) error {
	p, source, ok, err := f.AskedPlan(ctx, c.namespace, c.line.policy)
	if err != nil || !ok {
		return err
	}
	s.intended = intended(&s.path, &p, source)
	s.intended.Disown(&s.path.Rules)
	s.Wanted, s.Host, s.Complete = p.Wanted, p.Host, !s.intended.IsDamaged()
	return nil
}

// proxy returns the likeliest proxy, by the rules or, if the one that names it is gone, by the
// rules as they should be.
func (s *subject) proxy(policy capture.Policy, f iptables.Family) explain.Proxy {
	proxy := pod.ProxyOf(policy, &s.path, f)
	if proxy == (explain.Proxy{}) && s.intended != nil {
		proxy = pod.ProxyOf(policy, installed.Alone(s.intended.Rules, s.path.Ownership), f)
	}
	return proxy
}

// intended compares the rules of a path, with origins, with a plan from a source.
func intended(path *installed.Path, p *pod.Plan, source string) *explain.Intended {
	return explain.NewIntended(path, path.Ownership.ReadComments(kernel.InForm(path.Form, p.Rules)), source != pod.Recorded)
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
func (c *command) warnLive(s *subject) {
	for _, fault := range s.path.Faults {
		text := fault.Text
		if !fault.Lasts {
			text += "\n" + hintPrefix + "apply again to repair it"
		}
		c.log.Warn(text)
	}
	if !s.hasOwn() {
		c.log.Warn("meshtables has no rules here")
	} else if !s.Complete {
		text := "the rules are damaged: they are not what was asked for"
		if s.intended.Guessed {
			text = "no options give exactly these rules, so some of them are damaged or not from meshtables"
		}
		c.log.Warn(text + "\n" + hintPrefix + "meshtables verify shows what differs, and applying again mends it")
	}
}

// warnElsewhere warns of an inbound connection to an address that the namespace does not
// have: no such packet comes in, except for virtual machines behind the pod.
func (c *command) warnElsewhere(q *question, s *subject) {
	to := q.to.Addr()
	ofMachine := q.options.in != "" && len(s.Wanted.TakesFrom(s.Host)) > 0
	if !q.inbound || !to.IsValid() || isLocal(to, s.addresses) || ofMachine {
		return
	}
	var own []string
	for _, a := range s.path.Ownership.Reachable(iptables.FamilyOf(to), s.addresses) {
		own = append(own, a.String())
	}
	if own != nil {
		c.log.Warn(fmt.Sprintf("%s is not an address of this network namespace, which has %s\n"+
			hintPrefix+"is this the wrong pod, or %[1]s the address of a service?", to, strings.Join(own, ", ")))
	}
}
