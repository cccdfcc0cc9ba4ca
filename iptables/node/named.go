package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables/cni/cache"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// ParseName checks NAMESPACE/NAME.
func ParseName(text string) error {
	namespace, name, ok := strings.Cut(text, "/")
	if !ok || !cache.IsNamespace(namespace) || !cache.IsName(name) {
		return errors.New("must be NAMESPACE/NAME, as kubectl get pods -A shows them")
	}
	return nil
}

// OpenPod returns the network namespace of the pod NAMESPACE/NAME, and the sandbox that has its
// network stack instead; nil if there is none.
func (n *Node) OpenPod(ctx context.Context, name string) (*namespace.Namespace, *Sandbox, error) {
	found, err := n.Find(ctx)
	if err != nil {
		return nil, nil, err
	}
	var sandbox *Sandbox
	var files []string
	var opened *namespace.Namespace
	for i := range found.Pods {
		p := &found.Pods[i]
		if !p.isNamed([]string{name}) {
			continue
		}
		ns, err := p.openFor(ctx, name)
		if errors.Is(err, errGone) {
			continue
		}
		if err != nil {
			return nil, nil, errors.Join(err, closeIfOpen(opened))
		}
		files = append(files, p.File)
		if opened != nil {
			ns.Close()
			continue
		}
		opened, sandbox = ns, n.sandboxOf(p.processes)
	}
	switch len(files) {
	case 0:
		return nil, nil, fmt.Errorf("no network namespace on this machine is that pod's\nhint: is it on another node, or libcni's cache not in %s?", n.Cache)
	case 1:
		return opened, sandbox, nil
	}
	opened.Close()
	slices.Sort(files)
	return nil, nil, fmt.Errorf("the pod has several network namespaces: %s\nhint: name one with --network-namespace", strings.Join(files, ", "))
}

// OpenByAddress returns the network namespaces that have an address, open.
func (n *Node) OpenByAddress(ctx context.Context, a netip.Addr) ([]*namespace.Namespace, error) {
	found, err := n.Find(ctx)
	if err != nil {
		return nil, err
	}
	var all []*namespace.Namespace
	for i := range found.Pods {
		p := &found.Pods[i]
		ns, err := p.Open()
		if err != nil {
			// It has ended, or nobody may look.
			continue
		}
		there, err := host.Addresses(ctx, ns)
		if err == nil && slices.ContainsFunc(there, func(t netip.Prefix) bool { return t.Addr() == a }) {
			all = append(all, ns)
			continue
		}
		_ = ns.Close()
	}
	return all, ctx.Err()
}

// openFor opens the namespace if it is that of the named pod. If the cache gives it to others
// too, and nobody can tell whose it is, it is nobody's.
func (p *Pod) openFor(ctx context.Context, name string) (*namespace.Namespace, error) {
	ns, err := p.Open()
	if err != nil || len(p.rivals) == 0 {
		return ns, err
	}
	there, err := host.Addresses(ctx, ns)
	if err != nil {
		return nil, errors.Join(err, ns.Close())
	}
	owner, ok := p.settle(there)
	switch {
	case !ok:
		err = fmt.Errorf("libcni's cache gives %s to several pods: %s\nhint: name it with --network-namespace", p.File, p.names())
	case owner.String() != name:
		err = errGone
	default:
		return ns, nil
	}
	return nil, errors.Join(err, ns.Close())
}

func closeIfOpen(ns *namespace.Namespace) error {
	if ns == nil {
		return nil
	}
	return ns.Close()
}
