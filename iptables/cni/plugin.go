// Package cni is a plugin of the Container Network Interface that captures the traffic of
// pods, by a policy. It is the last of a chain, and asks no API server: the container runtime
// hands it the pod's annotations, which say whether and how to capture.
//
// It implements version 1.1.0 of the specification and all earlier ones
// (github.com/containernetworking/cni/blob/main/SPEC.md).
package cni

import (
	"context"
	"io"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/meshtables/meshtables/iptables/capture"
)

// CommandVariable is the environment variable by which a runtime says what a plugin is to do.
// A program that finds it set has been started as a plugin.
const CommandVariable = "CNI_COMMAND"

// Plugin is the plugin. It has no state: a runtime starts it for each command.
type Plugin struct {
	// Policies are all that there are. The plugin leaves the pods alone whose rules an agent of
	// the mesh writes. The first is that of pods about which nothing is known.
	Policies capture.Policies
	// Stdout gets the result of ADD. Stderr, which is in the runtime's log, gets messages
	// unless the configuration names a file for them.
	Stdout, Stderr io.Writer
}

// Run does what the environment and stdin of this process say, as the specification has it.
// A failure is an error object, which the caller prints; it has been logged.
func (p *Plugin) Run() *types.Error {
	return skel.PluginMainFuncsWithError(p.Functions(), version.All, "")
}

// Functions returns the commands, except VERSION.
func (p *Plugin) Functions() skel.CNIFuncs {
	return skel.CNIFuncs{
		Add: p.command((*call).add), Check: p.command((*call).check), Del: del,
		GC: p.command((*call).gc), Status: p.command((*call).status),
	}
}

// timeout is for a kernel that does not answer. Changes take milliseconds, and the kubelet
// waits for minutes.
const timeout = 90 * time.Second

// command returns a command as the specification's library calls it.
func (p *Plugin) command(do func(*call, context.Context) error) func(*skel.CmdArgs) error {
	return func(args *skel.CmdArgs) error {
		conf, err := parse(p.Policies, args.StdinData)
		c := &call{configuration: conf, args: args, pod: podOf(args.Args), stdout: p.Stdout}
		var end func()
		c.log, end = c.openLog(p.Stderr)
		defer end()
		if err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			err = do(c, ctx)
		}
		if err == nil {
			return nil
		}
		object := errorObject(err)
		c.log.Error(object.Msg, attributes(object)...)
		return object
	}
}

// del does nothing, and so succeeds whatever is there: the rules go with the network
// namespace. Until then what still runs in it stays captured.
func del(*skel.CmdArgs) error { return nil }

// attributes returns the parts of an error object besides the message, for the log.
func attributes(object *types.Error) []any {
	all := []any{"code", object.Code}
	if object.Details != "" {
		all = append(all, "details", object.Details)
	}
	return all
}
