package cni

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/skel"

	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/namespace"
	"github.com/meshtables/meshtables/iptables/pod"
)

// call is one call of the plugin.
type call struct {
	configuration
	args   *skel.CmdArgs
	pod    podName
	stdout io.Writer
	log    *slog.Logger
}

// podName says which pod it is. It is empty if the runtime does not say.
type podName struct{ namespace, name string }

// podOf reads CNI_ARGS, which has what runtimes of Kubernetes say of the pod (toCNILabels in
// pkg/cri/server of containerd, buildCNIRuntimeConf in pkg/ocicni of CRI-O).
func podOf(args string) podName {
	var p podName
	for arg := range strings.SplitSeq(args, ";") {
		switch key, value, _ := strings.Cut(arg, "="); key {
		case "K8S_POD_NAMESPACE":
			p.namespace = value
		case "K8S_POD_NAME":
			p.name = value
		}
	}
	return p
}

func (p podName) String() string { return p.namespace + "/" + p.name }

// add captures the pod's traffic, if it is to be captured, and hands on the result of the
// plugins before.
func (c *call) add(ctx context.Context) error {
	if c.dropIn != "" {
		if err := leaveMark(c.dropIn); err != nil {
			c.log.Warn(keyDropIn + ": nobody will learn that the runtime reads it: " + err.Error())
		}
	}
	result, err := c.result()
	if err != nil {
		return err
	}
	policy, decision, err := c.decideHere()
	if err != nil {
		return err
	}
	if !isOurs(decision) {
		c.log.Info("not captured: " + decision.Why)
	} else if err := c.capture(ctx, policy, decision.Why); err != nil {
		return err
	}
	_, err = c.stdout.Write(result)
	return err
}

// isOurs reports whether the plugin captures a pod.
func isOurs(d capture.Decision) bool { return d.Captured && d.By == capture.Plugin }

// decide says whether the pod's traffic is captured, and by which policy.
func (c *call) decide() (capture.Policy, capture.Decision, error) {
	switch {
	case c.pod.namespace != "" && slices.Contains(c.excludeNamespaces, c.pod.namespace):
		return nil, capture.Decision{Why: fmt.Sprintf("the namespace %s is among %s", c.pod.namespace, keyExclude)}, nil
	case c.annotations != nil:
		policy, decision, err := c.inOrder().Decide(c.annotations)
		return policy, decision, failed(codeAnnotations, err)
	case c.without == withoutFail:
		return nil, capture.Decision{}, c.errNoAnnotations()
	}
	why := fmt.Sprintf("the runtime hands over no annotations, and %s is %q", keyWithout, c.without)
	return c.policy(), capture.Decision{Captured: c.without == withoutCapture, Why: why}, nil
}

// capture applies the rules.
func (c *call) capture(ctx context.Context, policy capture.Policy, why string) error {
	start := time.Now()
	ns, err := c.open()
	if err != nil {
		return err
	}
	defer ns.Close()
	p, err := c.plan(ctx, ns, policy)
	if err != nil {
		return err
	}
	if err := c.refuse(ns, &p); err != nil {
		return err
	}
	applied, err := pod.Apply(ctx, ns, &p, pod.Applying{Backend: c.backend, Policies: c.policies})
	for _, candidate := range applied.Candidates {
		c.log.Debug(candidate.String())
	}
	if err != nil {
		return failed(codeNotApplied, err)
	}
	c.warn(applied.Warnings)
	result := "unchanged"
	if applied.Changed {
		result = "applied"
	}
	c.log.Info("captured: "+why, "mesh", policy.Mesh(), "result", result, "rules", applied.Rules, "families", strings.Join(pod.FamilyNames(p.Rules.Families), " and "),
		"backend", applied.Backend, "options", strings.Join(p.Wanted.Arguments(), " "), "took", time.Since(start).Round(time.Microsecond))
	return nil
}

// open returns the pod's namespace. The library would find only after the command that it is
// the plugin's own.
func (c *call) open() (*namespace.Namespace, error) {
	ns, err := namespace.Open(c.args.Netns)
	if err != nil {
		return nil, failed(codeNamespace, fmt.Errorf("CNI_NETNS %q: %w", c.args.Netns, err))
	}
	if c.isOwn(ns) && !isTrue(c.args.NetnsOverride) {
		ns.Close()
		return nil, failed(codeNamespace, fmt.Errorf("CNI_NETNS %q: must not be the network namespace of the plugin itself", c.args.Netns))
	}
	return ns, nil
}

func (c *call) isOwn(ns *namespace.Namespace) bool {
	file, err := ns.File()
	if err != nil {
		return false
	}
	there, err := file.Stat()
	if err != nil {
		return false
	}
	here, err := os.Stat("/proc/thread-self/ns/net")
	return err == nil && os.SameFile(here, there)
}

// isTrue reads CNI_NETNS_OVERRIDE as the library does.
func isTrue(text string) bool { return strings.EqualFold(text, "true") || text == "1" }

// plan returns what the pod's annotations and the settings ask for, by a policy.
func (c *call) plan(ctx context.Context, ns *namespace.Namespace, policy capture.Policy) (p pod.Plan, err error) {
	wanted, warnings, err := c.read(policy, c.pod.namespace, c.annotations)
	if err != nil {
		return p, failed(codeAnnotations, err)
	}
	c.warn(warnings)
	if p, err = pod.NewPlan(ctx, ns, policy, wanted); err != nil {
		return p, failed(codeNotApplied, err)
	}
	c.warn(p.Warnings)
	return p, failed(codeNotApplied, p.Validate())
}

// refuse returns an error if the plan is not for this namespace.
func (c *call) refuse(ns *namespace.Namespace, p *pod.Plan) error {
	if err := pod.RefuseHost(ns, p); err != nil {
		return failed(codeNamespace, err)
	}
	unmapped, err := pod.UnmappedIDs(ns, p.Wanted.IDs())
	if err != nil {
		return failed(codeNotApplied, err)
	}
	for _, u := range unmapped {
		return failed(codeNotApplied, fmt.Errorf("%s: %d does not exist in the user namespace that owns the network namespace\n"+
			"hint: %s lists the ids that do", u.Option, u.ID, u.File))
	}
	return nil
}

func (c *call) warn(warnings []string) {
	for _, w := range warnings {
		c.log.Warn(w)
	}
}
