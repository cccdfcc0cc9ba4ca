package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
)

// The exit statuses.
const (
	exitDone       = 0   // done, or nothing to do
	exitFailed     = 1   // failed; the kernel as it was
	exitUsage      = 2   // an option is wrong; nothing touched
	exitDifferent  = 3   // what is installed is not what is wanted
	exitNotArrived = 126 // connections did not go where they have to
)

// command is one run of the program.
type command struct {
	options
	place  place
	line   *commandLine
	env    []string
	stdout io.Writer
	log    *slog.Logger
}

// run is the whole program: it reads no global state but the file system and the
// calling thread's namespaces, and it returns the exit status.
func run(ctx context.Context, args, env []string, stdout, stderr io.Writer) int {
	v, args := splitVerb(args)
	line := newCommandLine(v)
	// Until the options are read, messages are text.
	c := &command{line: line, env: env, stdout: stdout, log: newLogger(stderr, logText, slog.LevelInfo)}
	if err := line.set.Parse(args); err != nil {
		return c.usageError(line.withHint(v, err))
	}
	if line.help {
		fmt.Fprint(stdout, v.help(line.set))
		return exitDone
	}
	if line.version {
		fmt.Fprintln(stdout, "meshtables", version())
		return exitDone
	}
	if !v.arguments {
		if err := checkArguments(line.set.Args(), args); err != nil {
			return c.usageError(err)
		}
	}
	var err error
	if c.options, err = line.readOptions(env); err != nil {
		return c.usageError(errors.Join(err, c.checkConfig()))
	}
	c.log = newLogger(stderr, c.logs, c.level())
	if ignored := line.ignored(); ignored != "" {
		c.log.Info(ignored)
	}
	if line.unread != "" {
		c.log.Warn(line.unread + " has no effect: --cleanup-only reads no file")
	}
	c.place = placeOf(c.networkNamespace)
	if err := c.place.enter(); err != nil {
		return c.usageError(fmt.Errorf("%s: %w", line.flags.Given(namespaceOption), err))
	}
	return v.run(c, ctx)
}

// checkConfig returns the errors of the capture options alone, so that they are
// reported with the others.
func (c *command) checkConfig() error {
	_, err := c.line.readConfig(options{cniMode: c.cniMode}, c.env, slog.New(slog.DiscardHandler))
	return err
}

func (c *command) usageError(err error) int {
	c.log.Error(err.Error())
	return exitUsage
}

func (c *command) failed(err error) int {
	c.log.Error(err.Error())
	return exitFailed
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}
