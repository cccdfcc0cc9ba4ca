package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/ambient/node"
	"github.com/meshtables/meshtables/iptables/cni/cache"
	"github.com/meshtables/meshtables/iptables/keep"
	"github.com/meshtables/meshtables/iptables/kernel"
	"github.com/meshtables/meshtables/iptables/pod"
)

// watchHost applies, and stays to keep the node's side in place until it is told to end. Then
// that stays: pods are probed without this process too.
func (c *command) watchHost(ctx context.Context, p *pod.Plan, how pod.Applying) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	answer := outcome{Families: pod.FamilyNames(p.Rules.Families)}
	p.Sets = c.hostOptions.sets(p)
	if err := c.installPlan(ctx, p, how, &answer); err != nil {
		return c.failed(err)
	}
	c.log.Info(strings.TrimSpace(textOf(answer)))
	k := &keep.Keeper{
		Namespace: c.namespace, Policies: how.Policies, Backend: answer.Backend, Plan: *p,
		Follow: !c.asksForCapture(), MayMove: c.backend == kernel.Auto, Every: c.every, Tell: c.tellKept,
	}
	if !c.pods.given {
		memory := &keep.Memory{Pods: c.podsOfCache}
		k.Plan.Sets = func(have []iptables.AddressSet) []iptables.AddressSet {
			return k.Plan.Wanted.(node.Config).Pods(k.Plan.Host, memory.Recall(have))
		}
	}
	end, err := c.answerProbes(k.Check)
	if err != nil {
		return c.failed(err)
	}
	defer end()
	if err := k.Run(ctx); err != nil {
		return c.failed(err)
	}
	return exitDone
}

// podsOfCache returns the addresses of the machine's pods, as libcni's cache has them; nil if
// that does not tell.
func (c *command) podsOfCache() map[netip.Addr]bool {
	if _, err := os.Stat(filepath.Join(c.cniCache, "results")); err != nil {
		return nil
	}
	all, broken, err := cache.Read(c.cniCache)
	if err != nil || len(broken) > 0 {
		return nil
	}
	pods := make(map[netip.Addr]bool)
	for _, a := range all {
		for _, address := range a.Addresses {
			pods[address.Unmap()] = true
		}
	}
	return pods
}

// tellKept logs what was put back, or why it could not be.
func (c *command) tellKept(e keep.Event) {
	what := strings.Join(e.Missing, "; ")
	if len(e.By) > 0 {
		what += "; changed by " + iptables.Enumerate(e.By)
	}
	switch {
	case e.Err != nil && what == "":
		c.log.Error("failed to compare: " + e.Err.Error())
	case e.Err != nil:
		c.log.Error(fmt.Sprintf("failed to put back what is missing (%s): %v", what, e.Err))
	case e.Rest > 0:
		c.log.Warn(fmt.Sprintf("somebody takes away again and again what is put back: now that waits %v: %s", e.Rest, what))
	default:
		c.log.Info(fmt.Sprintf("put back (%s): %s", e.Backend, what))
	}
}
