package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"slices"

	"github.com/meshtables/meshtables/iptables/namespace"
)

// The exit statuses.
const (
	exitDone       = 0   // done, or nothing to do
	exitFailed     = 1   // failed; the kernel is as it was
	exitUsage      = 2   // an option is wrong; nothing touched
	exitDifferent  = 3   // what is installed is not what is wanted
	exitNotArrived = 126 // a connection went to the wrong place
)

const (
	namespaceOption = "network-namespace"
	podOption       = "pod"
)

// command is one run of the program.
type command struct {
	options
	namespace *namespace.Namespace
	line      *commandLine
	env       []string
	stdout    io.Writer
	stderr    io.Writer
	log       *slog.Logger
}

// run is the whole program. The only global state that it reads is the file system and the
// process's namespaces. It returns the exit status.
func run(ctx context.Context, args, env []string, stdout, stderr io.Writer) int {
	if slices.Equal(args, []string{"--version"}) {
		// No option matters, so none is read.
		fmt.Fprintln(stdout, "meshtables", version())
		return exitDone
	}
	v, args := splitVerb(args)
	read := make(files)
	line := newCommandLine(v, chosenDataplane(v, args, env, read))
	line.files = read
	lineErr := line.parse(v, args)
	if lineErr == nil && line.help {
		fmt.Fprint(stdout, v.help(line))
		return exitDone
	}
	if lineErr == nil && v.print != nil {
		text, err := v.print(line.set.Args())
		if err == nil {
			fmt.Fprint(stdout, text)
			return exitDone
		}
		lineErr = err
	}
	if lineErr == nil && line.version {
		fmt.Fprintln(stdout, "meshtables", version())
		return exitDone
	}
	c := &command{line: line, env: env, stdout: stdout, stderr: stderr}
	var err error
	c.options, err = line.readOptions(env)
	c.log = newLogger(stderr, c.logs, c.level())
	if err := errors.Join(lineErr, err, line.checkMesh(v)); err != nil {
		return c.usageError(errors.Join(err, c.checkConfig()))
	}
	if ignored := line.ignored(); ignored != "" {
		c.log.Info(ignored)
	}
	c.warn(line.flags.Replaced())
	c.warn(line.misspelt(env))
	if c.namespace, err = c.openNamespace(ctx, v); err != nil {
		return c.usageError(errors.Join(err, c.checkConfig()))
	}
	defer c.namespace.Close()
	return v.run(c, ctx)
}

// openNamespace returns the network namespace to work in: this process's, or the one that
// --network-namespace or --pod names. It warns, before a verb works in it in vain.
func (c *command) openNamespace(ctx context.Context, v verb) (*namespace.Namespace, error) {
	switch {
	case c.pod != "" && c.networkNamespace != "":
		return nil, fmt.Errorf("%s and --%s: must not both be given, because each names a network namespace", c.line.flags.Given(namespaceOption), podOption)
	case c.pod != "":
		machine := c.node()
		ns, sandbox, err := machine.OpenPod(ctx, string(c.pod))
		if err != nil {
			return nil, fmt.Errorf("--%s %q: %w", podOption, c.pod, err)
		}
		// The audit has it in its answer.
		if sandbox != nil && v.name != auditVerb {
			c.log.Warn(sandbox.String())
		}
		return ns, nil
	case c.networkNamespace == "":
		return namespace.Own(), nil
	}
	ns, err := namespace.Open(c.networkNamespace)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.line.flags.Given(namespaceOption), err)
	}
	return ns, nil
}

// checkConfig returns the errors in the options that say what to capture, so that they
// are reported with the others. Removing does not need these options.
func (c *command) checkConfig() error {
	if c.cleanupOnly {
		return nil
	}
	_, err := c.line.readConfig(c.options, c.env, slog.New(slog.DiscardHandler))
	return err
}

func (c *command) usageError(err error) int {
	c.report(err)
	return exitUsage
}

func (c *command) failed(err error) int {
	c.report(err)
	return exitFailed
}

// report logs an error, or each error that errors.Join joined.
func (c *command) report(err error) {
	if all, ok := err.(interface{ Unwrap() []error }); ok && errors.Join(all.Unwrap()...).Error() == err.Error() {
		for _, each := range all.Unwrap() {
			c.report(each)
		}
		return
	}
	c.log.Error(err.Error())
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}
