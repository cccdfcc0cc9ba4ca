package main

import (
	"context"
	"errors"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/installed"
)

// explain says what happens to a connection or, without an address, what is captured.
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
	proxy := func(f iptables.Family) explain.Proxy { return s.proxy(c.line.policy, f) }
	for _, p := range q.packets(&s, proxy) {
		answer := c.answerTo(&s, p)
		answer.Packet.Assumed = q.assumed(&p, s.addresses, &s.path)
		answers = append(answers, answer)
	}
	if c.trace {
		if status, err = c.traceAll(ctx, &q, &s, answers); err != nil {
			return c.failed(err)
		}
	}
	// What is left takes no time, so whoever has waited for a trace gets the answer.
	ctx = context.WithoutCancel(ctx)
	for i := range answers {
		if err := c.look(ctx, &s, &answers[i]); err != nil {
			return c.failed(err)
		}
		if err := c.followProbe(ctx, &s, &answers[i]); err != nil {
			return c.failed(err)
		}
	}
	answers[0].Also = answers[1:]
	if failed := c.print(answers[0]); failed != exitDone {
		return failed
	}
	return status
}

// answerTo says what the rules do to a packet.
func (c *command) answerTo(s *subject, p iptables.Packet) explanation {
	result := explain.WalkPath(&s.path, p)
	e := newExplanation(p, result, explain.Reasons(explain.Question{
		Path: &s.path, Packet: p, Result: result, Policy: c.line.policy, Intended: s.intended,
		Proxy: s.proxy(c.line.policy, p.Family()),
	}))
	e.Interceptors = s.interceptorsOf(p, result)
	e.onNode, e.result = c.isOnNode(), result
	if result.Verdict == explain.Unknown && c.live && !c.trace && s.path.Form != installed.Legacy {
		c.log.Info("the rules do not say what happens\n" + hintPrefix + "ask the kernel with --trace, which sends one real packet")
	}
	return e
}
