// Package lab makes throw-away network namespaces to try netfilter rules in: a
// pod, the world outside it, and on request a virtual machine or a container behind it, or a
// machine behind the world.
//
//	VM ──virbr0── Pod ══eth0══ Peer ──far0── Far
//	               ├────net1────┘   (Resolver, Outside, OtherOutside)
//	               └─docker0 ── Container
//
// Nothing of it has a name in the file system: a file descriptor of this process holds
// each namespace, so it goes with the process, however that ends. Nothing runs in the
// namespace that the process was started in.
//
// Linux only. It needs CAP_SYS_ADMIN and CAP_NET_ADMIN, see [Available], and no program.
package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
)

// Family is an address family.
type Family string

// The address families.
const (
	IPv4 Family = "IPv4"
	IPv6 Family = "IPv6"
)

// Families returns both families, IPv4 first.
func Families() []Family {
	if !hasIPv6() {
		return []Family{IPv4}
	}
	return []Family{IPv4, IPv6}
}

// hasIPv6 reports whether the kernel has IPv6 and it is not disabled.
func hasIPv6() bool {
	_, err := os.Stat("/proc/net/if_inet6")
	return err == nil
}

// Addr is the address of one place, in each family.
type Addr struct{ V4, V6 netip.Addr }

func addr(v4, v6 string) Addr {
	return Addr{V4: netip.MustParseAddr(v4), V6: netip.MustParseAddr(v6)}
}

// In returns the address of family f.
func (a Addr) In(f Family) netip.Addr {
	if f == IPv6 {
		return a.V6
	}
	return a.V4
}

// Port returns port at the address of family f.
func (a Addr) Port(f Family, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(a.In(f), port)
}

// ofFamilies leaves out IPv6 prefixes if there is no IPv6.
func ofFamilies(all ...netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(all, func(p netip.Prefix) bool { return p.Addr().Is6() && !hasIPv6() })
}

// prefixes returns both addresses with their network's length, which is 24 and 64 bits
// throughout the lab.
func (a Addr) prefixes() []netip.Prefix {
	return ofFamilies(netip.PrefixFrom(a.V4, 24), netip.PrefixFrom(a.V6, 64))
}

// The addresses of the lab. Outside and OtherOutside are from the ranges for
// documentation (RFC 5737, RFC 3849), so nobody has them.
var (
	// Loopback is every namespace's own.
	Loopback = addr("127.0.0.1", "::1")
	// PodAddr is eth0 of Pod, PeerAddr eth0 of Peer and Pod's default route.
	PodAddr  = addr("10.244.1.7", "fd00:10:244::7")
	PeerAddr = addr("10.244.1.1", "fd00:10:244::1")
	// Resolver is the name server in /etc/resolv.conf of Pod's programs.
	Resolver = addr("10.96.0.10", "fd00:10:96::10")
	// Outside and OtherOutside are servers anywhere. Peer answers for them.
	Outside      = addr("203.0.113.10", "2001:db8:113::10")
	OtherOutside = addr("198.51.100.20", "2001:db8:51::20")
	// PodNet1Addr and PeerNet1Addr are the two ends of net1, once it exists.
	PodNet1Addr  = addr("10.99.1.2", "fd00:10:99::2")
	PeerNet1Addr = addr("10.99.1.1", "fd00:10:99::1")
	// VMAddr is the virtual machine's, VMGateway that of virbr0 in Pod.
	VMAddr    = addr("192.168.122.2", "fd00:192:168:122::2")
	VMGateway = addr("192.168.122.1", "fd00:192:168:122::1")
	// ContainerAddr is the container's, ContainerGateway that of the bridge in Pod.
	ContainerAddr    = addr("172.17.0.2", "fd00:172:17::2")
	ContainerGateway = addr("172.17.0.1", "fd00:172:17::1")
	// FarAddr is that of the machine behind Peer, FarGateway that of far0 in Peer.
	FarAddr    = addr("10.55.0.2", "fd00:10:55::2")
	FarGateway = addr("10.55.0.1", "fd00:10:55::1")
	// TrunkAddr and BranchAddr are the two ends of trunk0, once it exists.
	TrunkAddr  = addr("10.56.0.1", "fd00:10:56::1")
	BranchAddr = addr("10.56.0.2", "fd00:10:56::2")
)

// Lab is a pod and what is around it.
type Lab struct {
	// Pod is the namespace for the rules, Peer everything outside it.
	Pod, Peer *Namespace
	// VM is the virtual machine behind the pod; nil until AddVM.
	VM *Namespace
	// Container is a container in the pod, as Docker makes it there; nil until AddContainer.
	Container *Namespace
	// Far is a machine for which Peer forwards, as a node does; nil until AddFar.
	Far *Namespace

	lastPort atomic.Uint32
}

// NextPort returns a source port that no earlier connection had and that the kernel does
// not choose. Connection tracking remembers ports for a while, and changes a connection's
// port if two would be the same after redirection.
func (l *Lab) NextPort() uint16 {
	const first, last = 20000, 32767 // below ip_local_port_range
	return uint16(first + (l.lastPort.Add(1)-1)%(last-first+1))
}

// Available returns nil if this process can make a lab, else the reason why not.
func Available() error {
	n, err := newNamespace(context.Background(), "trial")
	if err != nil {
		return err
	}
	return n.Close()
}

// New makes a lab: Pod and Peer, joined by eth0 in both. It lasts until Close. When ctx
// is done, its servers stop and it is unusable.
func New(ctx context.Context) (*Lab, error) { return makeLab(ctx, newNamespace) }

// NewWithIDs is New with a pod whose network namespace belongs to its own user namespace,
// as for a Kubernetes pod with hostUsers: false. Its ids from 0 to 65535 are those from
// first on outside. Programs run in the pod as the pod's root, who has no privileges
// outside.
func NewWithIDs(ctx context.Context, first uint32) (*Lab, error) {
	return makeLab(ctx, func(ctx context.Context, name string) (*Namespace, error) {
		return makeNamespace(ctx, name, func(n *Namespace) error { return n.openWithIDs(first) })
	})
}

func makeLab(ctx context.Context, newPod func(context.Context, string) (*Namespace, error)) (*Lab, error) {
	l := &Lab{}
	if err := l.build(ctx, newPod); err != nil {
		return nil, errors.Join(fmt.Errorf("failed to make a lab: %w", err), l.Close())
	}
	return l, nil
}

func (l *Lab) build(ctx context.Context, newPod func(context.Context, string) (*Namespace, error)) error {
	var err error
	if l.Pod, err = newPod(ctx, "pod"); err != nil {
		return err
	}
	if l.Peer, err = newNamespace(ctx, "peer"); err != nil {
		return err
	}
	if err := join(end{l.Pod, "eth0", PodAddr}, end{l.Peer, "eth0", PeerAddr}); err != nil {
		return err
	}
	if err := l.Peer.addLoopback(Resolver, Outside, OtherOutside); err != nil {
		return err
	}
	return l.Pod.addDefaultRoute(PeerAddr)
}

// AddNet1 joins Pod and Peer by a second pair of interfaces, net1 in both.
func (l *Lab) AddNet1() error {
	return join(end{l.Pod, "net1", PodNet1Addr}, end{l.Peer, "net1", PeerNet1Addr})
}

// AddVM puts a virtual machine behind the pod: a namespace VM that reaches the outside
// through interface virbr0 of Pod, which forwards for it.
func (l *Lab) AddVM(ctx context.Context) error {
	var err error
	if l.VM, err = newNamespace(ctx, "vm"); err != nil {
		return err
	}
	if err := join(end{l.VM, "eth0", VMAddr}, end{l.Pod, "virbr0", VMGateway}); err != nil {
		return err
	}
	if err := l.VM.addDefaultRoute(VMGateway); err != nil {
		return err
	}
	if err := l.Peer.addRoute(VMAddr.prefixes(), PodAddr); err != nil {
		return err
	}
	return l.Pod.setSysctls("net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1")
}

// AddContainer puts a container behind the pod, as Docker in the pod does: a namespace Container
// at a bridge of Pod, which forwards for it.
func (l *Lab) AddContainer(ctx context.Context, bridge string) error {
	var err error
	if l.Container, err = newNamespace(ctx, "container"); err != nil {
		return err
	}
	if err := l.Pod.addBridge(bridge); err != nil {
		return err
	}
	if err := attach(l.Container, l.Pod, bridge, "veth1"); err != nil {
		return err
	}
	if err := errors.Join(
		l.Pod.addAddrs(bridge, ContainerGateway.prefixes()),
		l.Container.addAddrs("eth0", ContainerAddr.prefixes()),
	); err != nil {
		return err
	}
	for _, p := range ContainerGateway.prefixes() {
		if err := l.Pod.awaitLocal(p.Addr()); err != nil {
			return err
		}
	}
	if err := l.Container.addDefaultRoute(ContainerGateway); err != nil {
		return err
	}
	if err := l.Peer.addRoute(ContainerAddr.prefixes(), PodAddr); err != nil {
		return err
	}
	return l.Pod.setSysctls("net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1")
}

// AddFar puts a machine behind Peer, which forwards for it.
func (l *Lab) AddFar(ctx context.Context) error {
	var err error
	if l.Far, err = newNamespace(ctx, "far"); err != nil {
		return err
	}
	if err := join(end{l.Far, "eth0", FarAddr}, end{l.Peer, "far0", FarGateway}); err != nil {
		return err
	}
	if err := l.Far.addDefaultRoute(FarGateway); err != nil {
		return err
	}
	return l.Peer.setSysctls("net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1")
}

// AddCloud makes Far the network of a cloud, in which the pod has an interface of its own, as with
// AWS' security groups for pods: Peer is the node, and has a second pair of interfaces to Far,
// trunk0 in both. What the pod sends leaves by that. What Far, which checks it, sends to the pod
// comes that way, also what the node sends, by far0:
//
//	Pod ══eth0══ Peer ──far0──── Far
//	                  ──trunk0──
//
// Far drops packets from addresses that are not those of the cloud.
func (l *Lab) AddCloud(ctx context.Context) error {
	if err := l.AddFar(ctx); err != nil {
		return err
	}
	if err := join(end{l.Far, "trunk0", BranchAddr}, end{l.Peer, "trunk0", TrunkAddr}); err != nil {
		return err
	}
	// Answers come to sockets by another interface than the kernel expects.
	if err := l.Peer.setSysctls("net/ipv4/tcp_early_demux=0"); err != nil {
		return err
	}
	if err := l.Far.setSysctls("net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1"); err != nil {
		return err
	}
	// Nobody would answer for these: the node takes nothing that comes in by the pod's
	// interfaces for itself. So plugins and clouds tell the neighbours.
	return errors.Join(
		l.Pod.know(PeerAddr, "eth0", l.Peer, "eth0"), l.Far.know(TrunkAddr, "trunk0", l.Peer, "trunk0"),
		l.Peer.know(BranchAddr, "trunk0", l.Far, "trunk0"), l.Far.routeByCloud(), l.Peer.routeByTable(),
	)
}

// Close ends the servers and gives up the namespaces. The kernel removes them with
// everything in them.
func (l *Lab) Close() error {
	var errs []error
	for _, n := range []*Namespace{l.Far, l.VM, l.Container, l.Pod, l.Peer} {
		if n != nil {
			errs = append(errs, n.Close())
		}
	}
	return errors.Join(errs...)
}
