// Demo shows the main job of meshtables: a pod's connections, in and out, arrive at its
// proxy until the rules are removed. Usage:
//
//	go run ./scripts/demo path/to/meshtables
//
// It needs root, for its own pod made of network namespaces. The machine's network stays
// as it is. The exit status is 1 if a connection did not arrive.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"time"

	"github.com/meshtables/meshtables/tests/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) != 1 {
		return errors.New("usage: demo path/to/meshtables")
	}
	if err := lab.Available(); err != nil {
		return fmt.Errorf("%w\nhint: run it as root (in a container: --privileged)", err)
	}
	l, err := lab.New(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	d := demo{lab: l, program: args[0], stdout: stdout, stderr: stderr}
	return d.show(ctx)
}

// demo is one showing.
type demo struct {
	lab            *lab.Lab
	program        string
	stdout, stderr io.Writer
}

// The servers that a connection can end at.
const (
	application = "the application in the pod"
	outside     = "the server outside"
	proxyIn     = "the proxy's inbound port 15006"
	proxyOut    = "the proxy's outbound port 15001"
)

var (
	proxyUser       = lab.Identity{UID: 1337, GID: 1337}
	applicationUser = lab.Identity{UID: 1000, GID: 1000}

	applicationAddress = netip.AddrPortFrom(lab.PodAddr.V4, 8080)
	outsideAddress     = netip.AddrPortFrom(lab.Outside.V4, 80)
)

func (d *demo) show(ctx context.Context) error {
	if err := d.serve(); err != nil {
		return err
	}
	d.say("A pod %s with an application and a proxy, made of network namespaces. These are the", lab.PodAddr.V4)
	d.say("rules that meshtables will write in it (meshtables --dry-run):\n")
	if err := d.meshtables(ctx, "--dry-run"); err != nil {
		return err
	}
	d.say("\nNow it writes them (meshtables):\n")
	if err := d.meshtables(ctx); err != nil {
		return err
	}
	d.say("\nTwo connections:\n")
	if err := d.connect(ctx, proxyIn, proxyOut); err != nil {
		return err
	}
	d.say("\nIt removes them again (meshtables --cleanup-only):\n")
	if err := d.meshtables(ctx, "--cleanup-only"); err != nil {
		return err
	}
	d.say("\nThe same two connections:\n")
	if err := d.connect(ctx, application, outside); err != nil {
		return err
	}
	d.say("\nEverything arrived where it should. The pod is gone now; nothing else was touched.")
	return nil
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.stdout, format+"\n", args...) }

// serve makes the application, the server outside and the proxy.
func (d *demo) serve() error {
	anywhere := netip.IPv4Unspecified()
	asProxy := lab.Socket{As: proxyUser}
	return errors.Join(
		d.lab.Pod.ServeTCP(application, lab.Socket{As: applicationUser}, applicationAddress),
		d.lab.Pod.ServeTCP(proxyIn, asProxy, netip.AddrPortFrom(anywhere, 15006)),
		d.lab.Pod.ServeTCP(proxyOut, asProxy, netip.AddrPortFrom(anywhere, 15001)),
		d.lab.Peer.ServeTCP(outside, lab.Socket{}, outsideAddress),
	)
}

// meshtables runs the program in the pod.
func (d *demo) meshtables(ctx context.Context, args ...string) error {
	err := d.lab.Pod.Run(ctx, lab.Command{
		Path: d.program,
		Args: args,
		// Options set in the user's environment are not part of the demo.
		Env:    []string{"PATH=" + os.Getenv("PATH")},
		Stdout: d.stdout,
		Stderr: d.stderr,
	})
	if err != nil {
		return fmt.Errorf("%s %q: %w", d.program, args, err)
	}
	return nil
}

// connect makes one connection into the pod and one out of it, and fails unless they end
// at the wanted servers.
func (d *demo) connect(ctx context.Context, wantIn, wantOut string) error {
	in, err := d.lab.Peer.DialTCP(ctx, lab.Client{}, applicationAddress)
	if err != nil {
		return fmt.Errorf("connection into the pod: %w", err)
	}
	defer in.Close()
	out, err := d.lab.Pod.DialTCP(ctx, lab.Client{Socket: lab.Socket{As: applicationUser}}, outsideAddress)
	if err != nil {
		return fmt.Errorf("connection out of the pod: %w", err)
	}
	defer out.Close()
	return errors.Join(
		d.arrived("in: ", "the application", in, applicationAddress, wantIn),
		d.arrived("out:", "a server outside", out, outsideAddress, wantOut),
	)
}

// arrived says where a connection ended.
func (d *demo) arrived(way, to string, conn *lab.Conn, asked netip.AddrPort, want string) error {
	answer := conn.Answer
	d.say("  %s a connection to %s, %s, arrived at %s.", way, to, asked, answer.Server)
	if answer.Server != want {
		return fmt.Errorf("the connection to %s should have arrived at %s", asked, want)
	}
	if answer.Local == asked {
		return nil // nothing was redirected
	}
	d.say("       The proxy can tell that it was meant for %s, from %s.", answer.OriginalDst, answer.Client)
	if answer.OriginalDst != asked {
		return fmt.Errorf("the proxy should have been told %s", asked)
	}
	return nil
}
