package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel"
)

// explain tells what becomes of a connection, or without one in general what is
// captured.
func (c *command) explain(ctx context.Context) int {
	words := c.line.set.Args()
	if len(words) == 0 {
		return c.explainAll(ctx)
	}
	q, err := c.readQuestion(words)
	if err != nil {
		return c.usageError(errors.Join(err, c.checkConfig()))
	}
	s, status := c.subject(ctx)
	if status != exitDone {
		return status
	}
	if c.live || c.trace {
		c.warnElsewhere(&q, &s)
	}
	var answers []explanation
	for _, p := range q.packets(s.addresses, &s.path) {
		answer, err := c.answerTo(&s, p)
		if err != nil {
			return c.failed(err)
		}
		answer.Packet.Assumed = q.assumed(&p, s.addresses)
		answers = append(answers, answer)
	}
	if c.trace {
		if status, err = c.traceAll(ctx, &q, &s, answers); err != nil {
			return c.failed(err)
		}
	}
	answers[0].Also = answers[1:]
	if failed := c.print(answers[0]); failed != exitDone {
		return failed
	}
	return status
}

// answerTo tells what becomes of a packet by the rules. With --trace it is an answer
// too that they do not tell, as the kernel is asked next.
func (c *command) answerTo(s *subject, p iptables.Packet) (explanation, error) {
	result, err := explain.WalkPath(&s.path, p)
	switch {
	case err == nil:
		return newExplanation(p, result, explain.Reasons(&s.path, p, result)), nil
	case c.trace:
		return newExplanation(p, result, []explain.Reason{{Why: err.Error()}}), nil
	}
	err = fmt.Errorf("cannot tell what becomes of the connection: %w", err)
	if c.live && s.form != kernel.Legacy {
		err = fmt.Errorf("%w\n"+hintPrefix+"ask the kernel with --trace, which takes one real packet", err)
	}
	return explanation{}, err
}

// subject is what explain is about: rules that are installed or would be.
type subject struct {
	sidecar.Recognised
	path      installed.Path
	addresses []netip.Prefix
	// backend is what holds installed rules, form in which form; see
	// kernel.FormOf.
	backend, form string
}

// subject reads the options, or with --live or --trace the kernel.
func (c *command) subject(ctx context.Context) (s subject, status int) {
	if !c.live && !c.trace {
		p, status := c.plan()
		planned := p.rules()
		// Only an answer without an address is about the options, and about those of one
		// policy.
		s.Config, _ = p.cfg.(sidecar.Config)
		s.Host, s.addresses, s.path.Rules = p.facts, p.facts.Addresses, planned.ReadComments()
		return s, status
	}
	c.warnUnused()
	addresses, err := host.Addresses()
	if err != nil {
		return s, c.failed(err)
	}
	live, err := c.liveRules(ctx)
	if err != nil {
		return s, c.failed(err)
	}
	s.form = kernel.FormOf(live.Backend)
	s.backend, s.Recognised = live.Backend.Name(), sidecar.Recognise(live.Have.Rules, live.Backend.Form)
	if c.trace {
		if err := s.checkTrace(); err != nil {
			return s, c.failed(err)
		}
	}
	around, err := kernel.Around(ctx, live.Backend, live.Have.Rules)
	if err != nil {
		return s, c.failed(err)
	}
	s.path = installed.Path{Rules: s.Rules, Before: around.Before, Faults: live.Have.Faults}
	s.addresses = addresses
	c.warnLive(&s, around)
	return s, exitDone
}

// liveRules returns the rules of the backend that holds ours, or of the one that
// would.
func (c *command) liveRules(ctx context.Context) (live kernel.Installed, err error) {
	found, err := c.installed(ctx)
	if err != nil {
		return live, err
	}
	if len(found) > 1 {
		c.log.Warn(fmt.Sprintf("rules of both %s and %[2]s see every packet; only those of %[1]s are explained\n"+
			hintPrefix+"apply again: what is not in the chosen backend is removed",
			found[0].Backend.Name(), found[1].Backend.Name()))
	}
	if len(found) > 0 {
		return found[0], nil
	}
	choice, err := c.choose(ctx, iptables.Plan{})
	if err != nil {
		return live, err
	}
	live.Backend = choice.Backend
	live.Have, err = choice.Backend.Load(ctx)
	return live, err
}
