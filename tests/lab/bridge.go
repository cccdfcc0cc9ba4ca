package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Node is a machine of a cluster, with two pods:
//
//	Pods[0] ══eth0══ pod0 ┐
//	                      br0  Host   (Resolver, Outside, OtherOutside)
//	Pods[1] ══eth0══ pod1 ┘
//
// As on a real node, the bridge sees what pods send each other, and the kubelet is in
// Host.
type Node struct {
	Host *Namespace
	Pods [2]*Namespace
}

// NodeAddr is br0 of a node's Host, and its pods' default route.
var NodeAddr = addr("10.244.2.1", "fd00:10:244:2::1")

// NodePodNet is the network of a node's pods.
var NodePodNet = struct{ V4, V6 netip.Prefix }{
	netip.MustParsePrefix("10.244.2.0/24"), netip.MustParsePrefix("fd00:10:244:2::/64"),
}

// NodePodAddr returns the address of a node's pod, by its index in Pods.
func NodePodAddr(pod int) Addr {
	return addr(fmt.Sprintf("10.244.2.%d", 10+pod), fmt.Sprintf("fd00:10:244:2::%d", 10+pod))
}

// NodePort returns the name of the interface in Host that leads to a pod.
func NodePort(pod int) string { return fmt.Sprintf("pod%d", pod) }

// NewNode makes a node. It lasts until Close. When ctx is done, its servers stop and it
// is unusable.
func NewNode(ctx context.Context) (*Node, error) {
	node := &Node{}
	if err := node.build(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("failed to make a node: %w", err), node.Close())
	}
	return node, nil
}

func (node *Node) build(ctx context.Context) error {
	var err error
	if node.Host, err = newNamespace(ctx, "host"); err != nil {
		return err
	}
	if err := node.Host.addBridge("br0"); err != nil {
		return err
	}
	for i := range node.Pods {
		if node.Pods[i], err = newNamespace(ctx, NodePort(i)); err != nil {
			return err
		}
		if err := attach(node.Pods[i], node.Host, "br0", NodePort(i)); err != nil {
			return err
		}
	}
	// With its ports up the bridge has a carrier, without which its IPv6 address
	// would not be ready at once.
	if err := node.Host.addAddrs("br0", NodeAddr.prefixes()); err != nil {
		return err
	}
	if err := node.Host.addLoopback(Resolver, Outside, OtherOutside); err != nil {
		return err
	}
	for i, pod := range node.Pods {
		if err := pod.addAddrs("eth0", NodePodAddr(i).prefixes()); err != nil {
			return err
		}
		if err := pod.addDefaultRoute(NodeAddr); err != nil {
			return err
		}
	}
	return nil
}

func (n *Namespace) addBridge(name string) error {
	err := n.Do(func() error {
		// Nobody here queries multicast listeners, so a bridge that snoops for them would
		// hold neighbour discovery back.
		snooping := false
		return netlink.LinkAdd(&netlink.Bridge{
			LinkAttrs:         netlink.LinkAttrs{Name: name, TxQLen: -1},
			MulticastSnooping: &snooping,
		})
	})
	if err != nil {
		return fmt.Errorf("failed to make a bridge in %s: %w", n.name, err)
	}
	return n.bringUp(name)
}

// attach joins a namespace, by its eth0, to a bridge of another, where port is the name of the
// other end.
func attach(n, to *Namespace, bridge, port string) error {
	err := n.Do(func() error {
		pair := netlink.NewVeth(netlink.LinkAttrs{Name: "eth0", TxQLen: -1})
		pair.PeerName, pair.PeerNamespace = port, netlink.NsFd(to.handle)
		return netlink.LinkAdd(pair)
	})
	if err != nil {
		return fmt.Errorf("failed to join %s to %s: %w", n.name, to.name, err)
	}
	err = to.Do(func() error {
		master, err := netlink.LinkByName(bridge)
		if err != nil {
			return err
		}
		link, err := netlink.LinkByName(port)
		if err != nil {
			return err
		}
		return netlink.LinkSetMaster(link, master)
	})
	if err != nil {
		return fmt.Errorf("failed to join %s to %s of %s: %w", n.name, bridge, to.name, err)
	}
	return errors.Join(n.bringUp("eth0"), to.bringUp(port))
}

// Close ends the servers and gives up the namespaces.
func (node *Node) Close() error {
	var errs []error
	for _, n := range []*Namespace{node.Pods[0], node.Pods[1], node.Host} {
		if n != nil {
			errs = append(errs, n.Close())
		}
	}
	return errors.Join(errs...)
}
