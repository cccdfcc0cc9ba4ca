package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/explain"
	"github.com/meshtables/meshtables/iptables/follow"
	"github.com/meshtables/meshtables/iptables/kernel"
	"github.com/meshtables/meshtables/iptables/pod"
)

// isOnNode reports whether the rules in question are those of a node.
func (c *command) isOnNode() bool { return c.line.policy == ofNode.policy() }

// followProbe adds the way of a health probe to an answer about installed rules: that of what a
// node sends to a pod, from the node on, and that of what comes to a pod from the address of
// probes, in the pod.
func (c *command) followProbe(ctx context.Context, s *subject, e *explanation) error {
	p := e.before
	if !c.live && !c.trace || p.Protocol != iptables.TCP || p.State != iptables.StateNew {
		return nil
	}
	var err error
	switch {
	case p.Hook == iptables.Output && p.DestinationType != "LOCAL" && (c.isOnNode() || !s.hasOwn()):
		e.Probe, err = c.followFromNode(ctx, s, e)
	case p.Hook == iptables.Prerouting && comesAsProbe(e.result):
		here := follow.Pod{Side: follow.Side{Namespace: c.namespace, Path: &s.path}, Policy: c.line.policy}
		e.Probe, err = follow.FollowInPod(ctx, &here, p)
	}
	return err
}

// followFromNode follows a probe from its node. It is nil if the connection is to no pod that
// takes probes for something special.
func (c *command) followFromNode(ctx context.Context, s *subject, e *explanation) (*follow.Way, error) {
	probed, done := c.probedPod(ctx, e.before.Destination)
	defer done()
	isInMesh := probed != nil && probed.Policy != nil && dataplane(probed.Policy.Name()) == ofAmbient
	if !isInMesh && !e.result.Source.IsValid() {
		return nil, nil
	}
	var from netip.Addr
	if !slices.Contains(e.Packet.Assumed, "--from") {
		from = e.before.Source
	}
	return follow.Follow(ctx, &follow.Probe{
		Packet: e.before, Result: e.result, From: from, Node: follow.Side{Namespace: c.namespace, Path: &s.path}, Pod: probed,
		Change:        shellWords([]string{"meshtables", hostVerb, "--add-pods=" + e.before.Destination.String()}),
		PodInterfaces: shellWords([]string{"meshtables", hostVerb, "--pod-interfaces"}),
	})
}

// comesAsProbe reports whether rules leave a packet alone because of the address of probes.
func comesAsProbe(r explain.Result) bool {
	return slices.ContainsFunc(r.Path, func(s explain.Step) bool { return s.Rule.Origin.Option == "--host-probe-address" })
}

// probedPod returns the pod of the machine that has an address: the one to which the node has an
// interface or, if that does not tell, the only one that has it; nil if there is none, or nobody
// can look. done closes what was opened.
func (c *command) probedPod(ctx context.Context, a netip.Addr) (found *follow.Pod, done func()) {
	machine := c.node()
	holders, err := machine.OpenByAddress(ctx, a)
	done = func() {
		for _, ns := range holders {
			_ = ns.Close()
		}
	}
	var joined []*follow.Pod
	for _, ns := range holders {
		p := &follow.Pod{Side: follow.Side{Namespace: ns}}
		if is, joinErr := p.IsJoined(ctx, c.namespace, a); is || len(holders) == 1 {
			joined = append(joined, p)
		} else {
			err = errors.Join(err, joinErr)
		}
	}
	if err == nil && len(joined) == 1 {
		found = joined[0]
		err = c.readPod(ctx, found)
	}
	if err != nil {
		c.log.Warn(fmt.Sprintf("cannot tell what becomes of a probe in the pod at %s: %v", a, err))
		return nil, done
	}
	return found, done
}

// readPod reads the rules of a pod.
func (c *command) readPod(ctx context.Context, p *follow.Pod) error {
	f, err := pod.FindAll(ctx, p.Namespace, policies().Ownership(), kernel.Auto)
	if err != nil {
		return err
	}
	live := f.Live()
	path := f.Path(live.Form)
	if policy, ok := policies().Installed(&live.Rules); ok {
		p.Policy = policy
		path.Rules = pod.Recognise(policy, &live).Rules
	}
	p.Path = &path
	return nil
}

// writeWay prints the way of a probe.
func writeWay(w io.Writer, way *follow.Way) {
	fmt.Fprintln(w, "\nthe way of the probe, and of its answer")
	for i, s := range way.Steps {
		mark := " "
		if way.Lost && i == len(way.Steps)-1 {
			mark = "!"
		}
		fmt.Fprintf(w, "%s %-4s  %s\n", mark, s.Where, s.What)
	}
	switch {
	case way.Lost && way.Mend != "":
		fmt.Fprintf(w, "it is lost there\n%sto mend it: %s\n", hintPrefix, way.Mend)
	case way.Lost:
		fmt.Fprintln(w, "it is lost there")
	}
}
