package xtables

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/meshtables/meshtables/iptables/namespace"
)

// execer finds and runs programs. There is one implementation; tests have
// another for faults that real programs cannot be brought to.
type execer interface {
	// find returns the path of a program, or an error that wraps
	// [ErrNotFound].
	find(name string) (path string, err error)

	// run returns what the program printed. Where it failed, the error is an
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

// ownLockFile keeps the programs that work on a pod from waiting for those that work on
// the node: the usual lock, /run/xtables.lock, is the node's. Copies of this program lock
// the namespace themselves, and the kernel refuses to replace a table that somebody has
// changed meanwhile (do_replace in net/ipv4/netfilter/ip_tables.c). What stands in the
// lock's place is a file that each program has to itself.
const ownLockFile = "/proc/self/net/dev"

// lockFileVariable names the file of the programs' lock (iptables(8)).
const lockFileVariable = "XTABLES_LOCKFILE"

// environment is that of a program. Errors are recognised by their words.
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
	// A program that modprobe was started by may outlive it with our pipes.
	cmd.WaitDelay = time.Second
	err := x.namespace.Do(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err == nil || errors.Is(err, exec.ErrWaitDelay) && cmd.ProcessState.Success() {
		return stdout.String(), nil
	}
	if ctx.Err() != nil {
		// The program was killed, and its status says no more than that.
		err = context.Cause(ctx)
	}
	status := -1
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		status = exit.ExitCode()
	}
	failed := newError(c, status, stderr.String(), err)
	failed.fromOutside = !inOwner(x.namespace)
	return "", failed
}
