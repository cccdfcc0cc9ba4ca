package node

import (
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/pod"
)

// wish is what a pod asks for.
type wish struct {
	// known says that anybody knows: its annotations do.
	known bool
	// policy is the one that captures the pod; nil if none does.
	policy capture.Policy
	// by is who captures it.
	by  capture.Writer
	why string
}

// wishOf says from the pod's annotations which policy captures it.
func (a *Auditor) wishOf(p *Pod) (w wish, err error) {
	if p.Annotations == nil {
		return a.wishWithout(p), nil
	}
	w.known = true
	for i, policy := range a.Policies {
		decision, err := a.decide(policy, p)
		if err != nil {
			return w, err
		}
		if i == 0 || decision.Captured {
			w.why = decision.Why
		}
		if decision.Captured {
			w.policy, w.by = policy, decision.By
			break
		}
	}
	return w, nil
}

// wishWithout is what is known of a pod without its annotations: the plugin may be told to
// capture it all the same.
func (a *Auditor) wishWithout(p *Pod) wish {
	w := wish{why: "nobody knows the pod's annotations"}
	if a.Settings == nil || p.Name == "" {
		return w
	}
	if policy, d, err := a.Settings.Decide(p.Namespace, nil); err == nil && d.Captured {
		return wish{known: true, policy: policy, why: d.Why}
	}
	return w
}

// decide says whether a policy captures a pod: with the plugin's settings, if the plugin
// would do it and has an entry on the node.
func (a *Auditor) decide(policy capture.Policy, p *Pod) (capture.Decision, error) {
	decision, err := policy.Decide(p.Annotations)
	if err == nil && decision.Captured && decision.By == capture.Plugin && a.Settings != nil {
		_, decision, err = a.Settings.Decide(p.Namespace, p.Annotations)
	}
	return decision, err
}

// Where options come from that annotations leave open; see [Report.Source].
const (
	fromPlugin    = "plugin"    // from the plugin's entry on the node
	fromInstalled = "installed" // from what is installed
	fromDefaults  = "defaults"  // nobody knows them: nothing is installed
)

// options returns the options that a pod asks for. What its annotations leave open is the
// plugin's, if that captures it and has an entry on the node, and else what it was captured
// with.
func (x *examination) options(found *pod.Found) (wanted capture.Wanted, source string, err error) {
	if x.isByPlugin() {
		wanted, _, err = x.auditor.Settings.Read(x.wish.policy, x.pod.Namespace, x.pod.Annotations)
		return wanted, fromPlugin, err
	}
	p, from, ok, err := found.AskedPlan(x.ctx, x.ns, x.wish.policy)
	if err != nil {
		return nil, "", err
	}
	var args []string
	source = fromDefaults
	// The rules of another policy do not say what this one was asked for.
	if ok && (from == pod.Recorded || x.otherDataplane(found) == nil) {
		args, source = p.Wanted.Arguments(), fromInstalled
	}
	wanted, _, err = capture.Overlay(x.wish.policy, args, config.Sources{
		PodAnnotations: x.pod.Annotations, Users: config.PodUsers{}, NoNameServers: x.wish.by == capture.Plugin,
	})
	return wanted, source, err
}

// isByPlugin reports whether the plugin captures the pod, with its settings.
func (x *examination) isByPlugin() bool {
	return x.wish.by == capture.Plugin && x.auditor.Settings != nil
}
