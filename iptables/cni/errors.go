package cni

import (
	"errors"
	"fmt"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
)

// The codes of error objects. Those from 100 on are the plugin's own (SPEC.md, "Error").
const (
	codeConfiguration = types.ErrInvalidNetworkConfig
	codeNamespace     = types.ErrInvalidNetNS
	codeNotAvailable  = types.ErrPluginNotAvailable

	codeAnnotations   uint = 100 // an annotation of the pod is wrong
	codeNoAnnotations uint = 101 // the runtime hands over no annotations
	codeNotApplied    uint = 102 // the rules could not be written or read
	codeDifferent     uint = 103 // CHECK found a difference
	codeSandboxed     uint = 104 // rules do not reach into the pod's sandbox
)

// failure is an error with its code.
type failure struct {
	code uint
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// failed gives an error its code.
func failed(code uint, err error) error {
	if err == nil {
		return nil
	}
	return &failure{code, err}
}

// hintPrefix starts a line of a message that says what to do next.
const hintPrefix = "hint: "

// errorObject returns an error as runtimes print it: on one line the message, which says what
// is wrong, and the details, which say what to do about it or what differs.
func errorObject(err error) *types.Error {
	object := &types.Error{Code: types.ErrInternal}
	if f := (*failure)(nil); errors.As(err, &f) {
		object.Code = f.code
	}
	var messages, details []string
	for line := range strings.Lines(err.Error()) {
		line = strings.TrimSpace(line)
		if hint, ok := strings.CutPrefix(line, hintPrefix); ok {
			details = append(details, hint)
		} else {
			messages = append(messages, line)
		}
	}
	if d := (*difference)(nil); errors.As(err, &d) {
		details = append(details, d.lines()...)
	}
	object.Msg, object.Details = strings.Join(messages, "; "), strings.Join(details, "; ")
	return object
}

// errNoAnnotations says why there may be no annotations, and what to do.
func (c *configuration) errNoAnnotations() error {
	reason := fmt.Sprintf("the plugin's entry has to have \"capabilities\": {%q: true}, and ", AnnotationsCapability)
	if c.declared {
		reason = "the plugin's entry asks for them; "
	}
	return failed(codeNoAnnotations, fmt.Errorf("the container runtime hands over no annotations of the pod, so nobody can tell whether it has a proxy\n"+
		"hint: %sthe runtime has to know the capability %s: containerd 1.5, CRI-O 1.28, or later; "+
		"or set %q to %q or %q", reason, AnnotationsCapability, keyWithout, withoutSkip, withoutCapture))
}
