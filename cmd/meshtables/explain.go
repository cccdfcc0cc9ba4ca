package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
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
func (c *command) answerTo(s *subject, p explain.Packet) (explanation, error) {
	result, err := explain.WalkPath(&s.path, p)
	switch {
	case err == nil:
		return newExplanation(p, result, explain.Reasons(&s.path, p, result)), nil
	case c.trace:
		return newExplanation(p, result, []explain.Reason{{Why: err.Error()}}), nil
	}
	err = fmt.Errorf("cannot tell what becomes of the connection: %w", err)
	if c.live && s.form != installed.Legacy {
		err = fmt.Errorf("%w\n"+hintPrefix+"ask the kernel with --trace, which takes one real packet", err)
	}
	return explanation{}, err
}

// subject is what explain is about: rules that are installed or would be.
type subject struct {
	capture.Recognised
	path      installed.Path
	addresses []netip.Prefix
	// backend is what holds installed rules, form in which form.
	backend string
	form    installed.Form
}

// subject reads the options, or with --live or --trace the kernel.
func (c *command) subject(ctx context.Context) (s subject, status int) {
	if !c.live && !c.trace {
		p, status := c.plan(ctx)
		s.Config, s.Host, s.addresses, s.path.Rules = p.cfg, p.facts, p.facts.Addresses, p.Rules.ReadComments()
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
	c.warnFound(&f)
	if len(f.own) > 1 {
		c.log.Warn(fmt.Sprintf("rules of both %s and %[2]s see every packet; only those of %[1]s are explained\n"+
			hintPrefix+"apply again: what is not in the chosen backend is removed",
			f.own[0].Name, f.own[1].Name))
	}
	live := c.liveBackend(&f)
	s.backend, s.form = live.Name, live.Form
	s.path = f.Path(live.Form)
	s.Recognised = capture.Recognise(live.Rules, func(plan iptables.Ruleset) iptables.Ruleset { return kernel.InForm(live.Form, plan) })
	if c.trace {
		if err := s.checkTrace(); err != nil {
			return s, c.failed(err)
		}
	}
	s.path.Rules, s.addresses = s.Rules, addresses
	c.warnLive(&s, &f.Installed)
	return s, exitDone
}

// liveBackend returns the backend that holds rules of ours, or the one that was asked for or
// would.
func (c *command) liveBackend(f *found) installed.Backend {
	switch {
	case len(f.own) > 0:
		return f.own[0]
	case f.asked != nil:
		b := f.Backend(kernel.FormOf(f.asked))
		b.Name = f.asked.Name()
		return b
	}
	return f.Backend(f.Default())
}
