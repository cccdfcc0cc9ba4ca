package lab

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"time"
)

// Command is a program to run in a namespace.
//
// It is not an exec.Cmd, so that no method starts it outside.
type Command struct {
	// Path is the program, looked up in PATH if it has no slash.
	Path string
	Args []string
	// Env is its whole environment, nil for this process's.
	Env []string
	// NameServers are the name servers in its /etc/resolv.conf: nil for Resolver, empty
	// for none.
	NameServers []netip.Addr
	// KillAfter, unless it is 0, is how long after its start to kill the program
	// (SIGKILL).
	KillAfter time.Duration

	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Run runs a program in the namespace, as root there, with its own /etc/resolv.conf, and
// waits for it. The error is that of [exec.Cmd.Run]. When ctx is done, the program is
// killed.
func (n *Namespace) Run(ctx context.Context, c Command) error {
	cmd := n.ids.command(ctx, c.Path, c.Args)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Env, c.Stdin, c.Stdout, c.Stderr
	// A child of the program that holds its output open must not hold us up.
	cmd.WaitDelay = time.Second
	servers := c.NameServers
	if servers == nil {
		servers = n.nameServers
	}
	if err := n.start(cmd, servers); err != nil {
		return fmt.Errorf("failed to run %s in %s: %w", c.Path, n.name, err)
	}
	if c.KillAfter > 0 {
		kill := time.AfterFunc(c.KillAfter, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
	}
	return cmd.Wait()
}

// start starts cmd, which gets the namespaces of the thread that forks it.
func (n *Namespace) start(cmd *exec.Cmd, nameServers []netip.Addr) error {
	return onThread(func() (bool, error) {
		if err := n.enter(); err != nil {
			return false, err
		}
		if err := n.views.enter(nameServers); err != nil {
			return false, err
		}
		return false, cmd.Start()
	})
}
