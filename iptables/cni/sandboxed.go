package cni

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables/capture"
)

// Sandboxed is what the plugin does with a pod whose network stack is that of a sandbox, as of
// gVisor or Kata Containers: rules in the pod's network namespace do nothing there.
type Sandboxed string

// What it may do. To capture such a pod is for runtimes that copy the rules into the sandbox, as
// gVisor's does when told to (reproduce-nat and reproduce-nftables in its runsc/config).
const (
	SandboxedFail    Sandboxed = "fail"
	SandboxedSkip    Sandboxed = "skip"
	SandboxedCapture Sandboxed = "capture"
)

// SandboxedWords returns the words for that; the first is the default.
func SandboxedWords() []string {
	return []string{string(SandboxedFail), string(SandboxedSkip), string(SandboxedCapture)}
}

// Annotations of a pod that say that it has a sandbox. Runtimes tell plugins nothing else about
// it: not the pod's runtimeClassName, nor the handler of that (toCNILabels and cniNamespaceOpts in
// internal/cri/server of containerd; pkg/ocicni of CRI-O). Nor does the sandbox run at ADD.
const (
	// untrusted asks containerd for the handler "untrusted" (internal/cri/annotations).
	untrusted = "io.kubernetes.cri.untrusted-workload"
	// runtimeHandler names the handler whose snapshotter containerd is to use, before 2.5.
	runtimeHandler = "io.containerd.cri.runtime-handler"
)

// ownersOfSandboxes start the annotations that configure gVisor (runsc/specutils) and Kata
// Containers (src/runtime/virtcontainers/pkg/annotations), which other runtimes ignore.
func ownersOfSandboxes() []string { return []string{"dev.gvisor.", "io.katacontainers."} }

// handlersOfSandboxes are patterns of the names that the projects' manuals give their handlers.
func handlersOfSandboxes() []string { return []string{"runsc*", "gvisor*", "kata*"} }

// sandboxSign returns the first annotation that says that a pod has a sandbox, with its value; "" if
// none does, or if the pod says by our own that it has none.
func sandboxSign(annotations map[string]string) (sign string, err error) {
	text := func(key string) string { return fmt.Sprintf("annotation %s %q", key, annotations[key]) }
	if value, ok := annotations[capture.SandboxedPod]; ok {
		switch value {
		case "true":
			return text(capture.SandboxedPod), nil
		case "false":
			return "", nil
		}
		return "", fmt.Errorf("%s: must be true or false", text(capture.SandboxedPod))
	}
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		if isSandboxSign(key, annotations[key]) {
			return text(key), nil
		}
	}
	return "", nil
}

func isSandboxSign(key, value string) bool {
	switch key {
	case untrusted:
		return value == "true"
	case runtimeHandler:
		return slices.ContainsFunc(handlersOfSandboxes(), func(pattern string) bool {
			ok, _ := path.Match(pattern, value)
			return ok
		})
	}
	return slices.ContainsFunc(ownersOfSandboxes(), func(owner string) bool { return strings.HasPrefix(key, owner) })
}

// decideHere is decide for a pod of this machine: what it asks for, and what its sandbox, if it
// has one, means for that.
func (c *call) decideHere() (capture.Policy, capture.Decision, error) {
	policy, decision, err := c.decide()
	if err == nil {
		decision, err = c.decideSandboxed(decision)
	}
	return policy, decision, err
}

// decideSandboxed is what to do with a pod that is captured, if it has a sandbox.
func (c *call) decideSandboxed(d capture.Decision) (capture.Decision, error) {
	if !isOurs(d) {
		return d, nil
	}
	sign, err := sandboxSign(c.annotations)
	if err != nil || sign == "" {
		return d, failed(codeAnnotations, err)
	}
	sign += ": the pod has a sandbox with a network stack of its own, which rules in its network namespace do not reach"
	switch c.sandboxed {
	case SandboxedSkip:
		return capture.Decision{Why: fmt.Sprintf("%s, and %s is %q", sign, keySandboxed, c.sandboxed)}, nil
	case SandboxedCapture:
		d.Why = fmt.Sprintf("%s; %s, but %s is %q", d.Why, sign, keySandboxed, c.sandboxed)
		return d, nil
	}
	return d, failed(codeSandboxed, fmt.Errorf("%s\n"+
		hintPrefix+"let an init container write the rules, as deploy/README.md says, or set %q to %q or %q in the plugin's entry", sign, keySandboxed, SandboxedSkip, SandboxedCapture))
}
