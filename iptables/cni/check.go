package cni

import (
	"context"
	"errors"
	"fmt"

	"github.com/meshtables/meshtables/iptables/kernel"
	"github.com/meshtables/meshtables/iptables/namespace"
	"github.com/meshtables/meshtables/iptables/pod"
)

// check compares the pod's rules with what its annotations ask for.
func (c *call) check(ctx context.Context) error {
	policy, decision, err := c.decideHere()
	if err != nil || !isOurs(decision) {
		return err
	}
	ns, err := c.open()
	if err != nil {
		return err
	}
	defer ns.Close()
	p, err := c.plan(ctx, ns, policy)
	if err != nil {
		return err
	}
	found, err := pod.FindAll(ctx, ns, c.policies.Ownership(), c.backend)
	if err != nil {
		return failed(codeNotApplied, err)
	}
	v, err := pod.Verify(ctx, ns, &found, c.policies, &p)
	if err != nil {
		return failed(codeNotApplied, err)
	}
	c.warn(v.Warnings)
	if v.IsAsWanted() {
		return nil
	}
	return failed(codeDifferent, &difference{&v})
}

// difference says what differs, as the details of an error object.
type difference struct{ *pod.Verification }

func (d *difference) Error() string {
	return "the rules are not as the pod's annotations ask for (" + d.Backend + ")"
}

func (d *difference) lines() []string {
	all := d.Faults
	for _, r := range d.Rules {
		all = append(all, fmt.Sprintf("%s %s %s %s", r.Family, r.Table, r.Chain, r))
	}
	for _, other := range d.Elsewhere {
		all = append(all, fmt.Sprintf("%d rules are in %s", len(other.Rules), other.Backend))
	}
	for _, command := range d.Routing {
		all = append(all, "routing needs: "+command)
	}
	all = append(all, d.Undelivered...)
	for _, command := range d.Sysctls {
		all = append(all, "needs: "+command)
	}
	for _, i := range d.Foreign {
		all = append(all, i.Text)
	}
	return all
}

// status says whether this node can do it: whether the kernel has what the rules of the
// settings need. It asks in a namespace of its own, where nobody has rules.
func (c *call) status(ctx context.Context) error {
	ns, err := namespace.New()
	if err != nil {
		return failed(codeNotAvailable, err)
	}
	defer ns.Close()
	p, err := c.plan(ctx, ns, c.policy())
	if err != nil {
		return failed(codeNotAvailable, errors.Unwrap(err))
	}
	choice, err := kernel.Choose(ctx, ns, c.policies.Ownership(), c.backend, p.Rules)
	for _, candidate := range choice.Candidates {
		c.log.Debug(candidate.String())
	}
	return failed(codeNotAvailable, err)
}

// gc has nothing to collect.
func (c *call) gc(context.Context) error {
	c.log.Info("GC: nothing to do, because rules go with their network namespace")
	return nil
}
