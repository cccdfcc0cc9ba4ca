package lab

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netns"
)

// NewHost makes a machine without pods, for a container runtime that makes them. Resolver,
// Outside and OtherOutside are there.
func NewHost(ctx context.Context) (*Namespace, error) {
	n, err := newNamespace(ctx, "host")
	if err != nil {
		return nil, err
	}
	if err := n.addLoopback(Resolver, Outside, OtherOutside); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// Join returns the namespace of a file, such as a pod that a container runtime has made. It
// must not be the machine's. Close ends what runs here in it, and leaves the namespace alone.
func Join(ctx context.Context, name, file string) (*Namespace, error) {
	n := &Namespace{name: name, handle: netns.None()}
	err := onThread(func() (bool, error) {
		var err error
		if n.machine, err = machineNamespaces(); err != nil {
			return true, err
		}
		n.handle, err = netns.GetFromPath(file)
		return true, err
	})
	if err != nil {
		return nil, fmt.Errorf("failed to join network namespace %s: %w", name, err)
	}
	n.alive, n.end = context.WithCancel(ctx)
	if err := n.Do(func() error { return nil }); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}
