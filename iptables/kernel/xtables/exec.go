package xtables

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/meshtables/meshtables/iptables/internal/gvisor"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// execer finds and runs programs. Tests have an implementation of their own, for faults
// that real programs do not produce on demand.
type execer interface {
	// find returns the path of a program, or an error that wraps
	// [ErrNotFound].
	find(name string) (path string, err error)

	// run returns what the program printed. If the program failed, the error is an
	// [*Error].
	run(ctx context.Context, c command) (stdout string, err error)
}

// command is one run of a program.
type command struct {
	path  string
	args  []string
	input string
}

type realExecer struct{ namespace *namespace.Namespace }

// ownLockFile replaces the usual lock, /run/xtables.lock, which is the node's, so that
// programs working on a pod do not wait for those working on the node. Each program has
// this file to itself. Copies of this program lock the namespace themselves, and the
// kernel refuses to replace a table that somebody has changed meanwhile (do_replace in
// net/ipv4/netfilter/ip_tables.c).
const ownLockFile = "/proc/self/net/dev"

// lockFileVariable names the file of the programs' lock (iptables(8)).
const lockFileVariable = "XTABLES_LOCKFILE"

// environment returns a program's environment. Errors are recognised by their words.
func (x realExecer) environment() []string {
	env := append(os.Environ(), "LC_ALL=C")
	if !x.namespace.IsOwn() && os.Getenv(lockFileVariable) == "" {
		env = append(env, lockFileVariable+"="+ownLockFile)
	}
	return env
}

func (realExecer) find(name string) (string, error) { return lookPath(name) }

func (x realExecer) run(ctx context.Context, c command) (string, error) {
	cmd := exec.CommandContext(ctx, c.path, c.args...)
	cmd.Env = x.environment()
	cmd.Stdin = strings.NewReader(c.input)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// A modprobe that the program started may outlive it and hold our pipes.
	cmd.WaitDelay = time.Second
	err := x.namespace.Do(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err == nil || errors.Is(err, exec.ErrWaitDelay) && cmd.ProcessState.Success() {
		return stdout.String(), nil
	}
	if ctx.Err() != nil {
		// The program was killed; its status says no more than that.
		err = context.Cause(ctx)
	}
	status := -1
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		status = exit.ExitCode()
	}
	failed := newError(c, status, stderr.String(), err)
	failed.fromOutside = !inOwner(x.namespace)
	if gvisor.Here() {
		failed.inGVisor()
	}
	return "", failed
}
