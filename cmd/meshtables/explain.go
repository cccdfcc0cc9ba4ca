package main

import (
	"context"
	"errors"
	"fmt"

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
	for _, p := range q.packets(s.addresses, &s.path) {
		answer, err := c.answerTo(&s, p)
		if err != nil {
			return c.failed(err)
		}
		answer.Packet.Assumed = q.assumed(&p, s.addresses, &s.path)
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

// answerTo says what the rules do to a packet. With --trace "unknown" is an answer too,
// because the kernel is asked next.
func (c *command) answerTo(s *subject, p iptables.Packet) (explanation, error) {
	result, err := explain.WalkPath(&s.path, p)
	switch {
	case err == nil:
		return newExplanation(p, result, explain.Reasons(&s.path, p, result, c.line.policy)), nil
	case c.trace:
		return newExplanation(p, result, []explain.Reason{{Why: err.Error()}}), nil
	}
	err = fmt.Errorf("cannot explain this connection: %w", err)
	if c.live && s.form != installed.Legacy {
		err = fmt.Errorf("%w\n"+hintPrefix+"ask the kernel with --trace, which sends one real packet", err)
	}
	return explanation{}, err
}
