package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Namespace is an anonymous network namespace and the servers in it. Its methods
// may be called from several goroutines.
type Namespace struct {
	name   string
	handle netns.NsHandle
	// machine identifies the namespaces in which nothing may run.
	machine     []string
	nameServers []netip.Addr
	// ids is the user namespace that owns the network namespace, nil if that is the
	// machine's.
	ids *userNamespace
	// views are for the programs that run in it.
	views views

	// alive ends when Close is called; servers counts what it then waits for.
	alive   context.Context
	end     context.CancelFunc
	servers sync.WaitGroup
}

var (
	errMachine = errors.New("the thread is in the machine's own network namespace")
	errGoexit  = errors.New("the function left its goroutine")
	errClosed  = errors.New("the namespace is closed")
)

func newNamespace(ctx context.Context, name string) (*Namespace, error) {
	return makeNamespace(ctx, name, func(n *Namespace) (err error) {
		n.handle, err = netns.New()
		return err
	})
}

// makeNamespace calls open to make a network namespace, on a thread of its own.
func makeNamespace(ctx context.Context, name string, open func(*Namespace) error) (*Namespace, error) {
	n := &Namespace{
		name:        name,
		handle:      netns.None(),
		nameServers: []netip.Addr{Resolver.V4, Resolver.V6},
	}
	err := onThread(func() (bool, error) {
		var err error
		if n.machine, err = machineNamespaces(); err != nil {
			return false, err
		}
		return false, open(n)
	})
	if err != nil {
		return nil, fmt.Errorf("failed to make network namespace %s: %w", name, errors.Join(err, n.ids.close()))
	}
	n.alive, n.end = context.WithCancel(ctx)
	if err := n.prepare(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// prepare makes a namespace the same on every machine: some of its settings are
// copies of the machine's.
func (n *Namespace) prepare() error {
	err := n.setSysctls(
		// Addresses work at once, without duplicate address detection.
		"net/ipv6/conf/all/accept_dad=0",
		"net/ipv6/conf/default/accept_dad=0",
		"net/ipv6/conf/all/disable_ipv6=0",
		"net/ipv6/conf/default/disable_ipv6=0",
		// TPROXY delivers packets by lo that strict filtering would drop.
		"net/ipv4/conf/all/rp_filter=0",
		"net/ipv4/conf/default/rp_filter=0",
		// Any user may listen on any port, as in a Kubernetes pod.
		"net/ipv4/ip_unprivileged_port_start=0",
	)
	if err != nil {
		return err
	}
	return n.bringUp("lo")
}

// File returns a file of the namespace, for programs that enter it themselves. It lasts
// until Close.
func (n *Namespace) File() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.handle) }

// Do calls f on an operating system thread in the namespace that runs nothing else
// meanwhile. f must not leave work for the namespace to other goroutines, nor end its
// goroutine (testing.T.FailNow).
func (n *Namespace) Do(f func() error) error {
	return onThread(func() (bool, error) {
		outside, err := netns.Get()
		if err != nil {
			return false, err
		}
		defer outside.Close()
		if err := n.enter(); err != nil {
			return false, err
		}
		err = f()
		return netns.Set(outside) == nil, err
	})
}

// As is Do as the user and group who: for the kernel they own what f opens. In a lab of
// [NewWithIDs], who has the pod's ids.
func (n *Namespace) As(who Identity, f func() error) error {
	return onThread(func() (bool, error) {
		if err := n.enter(); err != nil {
			return false, err
		}
		if err := n.ids.outside(who).assume(); err != nil {
			return false, err
		}
		return false, f()
	})
}

// onThread calls f on a thread of its own. f returns whether the thread is as before. If
// not, the thread ends with its goroutine instead of going back to the runtime, which
// would run anything in the wrong namespace.
func onThread(f func() (restored bool, err error)) error {
	result := make(chan error, 1)
	go func() {
		err := errGoexit
		defer func() { result <- err }()
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			// The main thread never ends; it would hold the namespace, and it is
			// what /proc/self shows. While it waits here f gets another one.
			defer runtime.UnlockOSThread()
			err = onThread(f)
			return
		}
		var restored bool
		if restored, err = f(); restored {
			runtime.UnlockOSThread()
		}
	}()
	return <-result
}

// enter moves the calling thread, which must be locked, into the namespace.
func (n *Namespace) enter() error {
	if n.alive.Err() != nil {
		return fmt.Errorf("failed to enter network namespace %s: %w", n.name, errClosed)
	}
	if err := netns.Set(n.handle); err != nil {
		return fmt.Errorf("failed to enter network namespace %s: %w", n.name, err)
	}
	return n.refuseMachine()
}

// refuseMachine fails if the calling thread is in a namespace where rules would cut the
// machine off from the network.
func (n *Namespace) refuseMachine() error {
	here, err := netns.Get()
	if err != nil {
		return err
	}
	defer here.Close()
	if slices.Contains(n.machine, here.UniqueId()) {
		return errMachine
	}
	return nil
}

// machineNamespaces identifies the namespaces of the calling thread, which nobody may
// have moved, and of the machine's first process.
func machineNamespaces() ([]string, error) {
	var ids []string
	for _, path := range []string{"/proc/thread-self/ns/net", "/proc/1/ns/net"} {
		ns, err := netns.GetFromPath(path)
		if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
			continue // not allowed to look there, so not allowed to go there
		}
		if err != nil {
			return nil, err
		}
		ids = append(ids, ns.UniqueId())
		ns.Close()
	}
	return ids, nil
}

// setSysctls writes settings of the form path=value, with the path below /proc/sys.
// /proc/sys/net is that of the thread that opens it (net/sysctl_net.c,
// net_ctl_header_lookup).
func (n *Namespace) setSysctls(settings ...string) error {
	return n.Do(func() error {
		for _, s := range settings {
			if strings.HasPrefix(s, "net/ipv6/") && !hasIPv6() {
				continue
			}
			path, value, _ := strings.Cut(s, "=")
			if err := os.WriteFile(filepath.Join("/proc/sys", path), []byte(value), 0); err != nil {
				return fmt.Errorf("failed to set %s: %w", s, err)
			}
		}
		return nil
	})
}

// Close ends the namespace's servers and gives it up. No other method may be in
// progress. A second call does nothing.
func (n *Namespace) Close() error {
	if !n.handle.IsOpen() {
		return nil
	}
	n.end()
	n.servers.Wait()
	return errors.Join(n.views.close(), n.ids.close(), n.handle.Close())
}
