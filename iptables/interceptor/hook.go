package interceptor

import (
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/bpf"
)

// hook is a place where programs can be attached.
type hook struct {
	// name and kind are those of [Program.Hook] and [Program.Type].
	name, kind string
	place      place
	// at is where bpf(2) attaches programs. Those of XDP and tc(8) are read by rtnetlink(7).
	at        bpf.AttachType
	direction Direction
	effect    Effect
	before    bool
	// protocol is the one that it is for, if it is for one. IPv4 also meets what is for IPv6: a
	// socket of IPv6 can have an address of IPv4.
	protocol iptables.Protocol
	onlyIPv4 bool
}

// place is the kind of object to which a hook belongs.
type place int

const (
	atCgroup place = iota
	atInterface
	atNamespace
)

// The hooks that are read by rtnetlink(7).
const (
	hookXDP       = "xdp"
	hookTCIngress = "tc ingress"
	hookTCEgress  = "tc egress"
)

// hooks returns all of them in the order in which traffic meets them.
//
// The programs of sockets come first (inet_dgram_connect and __inet_stream_connect in
// net/ipv4/af_inet.c, udp_sendmsg), before there is a packet. Those of a cgroup about packets
// that go out come when netfilter is done (ip_finish_output), and so do those of the interface
// (__dev_queue_xmit in net/core/dev.c). What comes in meets XDP, then those of the interface, TCX
// before tc, before netfilter (__netif_receive_skb_core); after it the lookup of the socket
// (__inet_lookup_listener), and then the cgroup of that (sk_filter_trim_cap).
var hooks = sync.OnceValue(func() []hook {
	const sockAddr, skb, tc = "cgroup_sock_addr", "cgroup_skb", "sched_cls"
	return []hook{
		{name: "connect4", kind: sockAddr, at: unix.BPF_CGROUP_INET4_CONNECT, direction: Out, effect: Rewrites, before: true, onlyIPv4: true},
		{name: "connect6", kind: sockAddr, at: unix.BPF_CGROUP_INET6_CONNECT, direction: Out, effect: Rewrites, before: true},
		{name: "sendmsg4", kind: sockAddr, at: unix.BPF_CGROUP_UDP4_SENDMSG, direction: Out, effect: Rewrites, before: true, protocol: iptables.UDP, onlyIPv4: true},
		{name: "sendmsg6", kind: sockAddr, at: unix.BPF_CGROUP_UDP6_SENDMSG, direction: Out, effect: Rewrites, before: true, protocol: iptables.UDP},
		{name: "getpeername4", kind: sockAddr, at: unix.BPF_CGROUP_INET4_GETPEERNAME, direction: Out, effect: Renames, onlyIPv4: true},
		{name: "getpeername6", kind: sockAddr, at: unix.BPF_CGROUP_INET6_GETPEERNAME, direction: Out, effect: Renames},
		{name: "egress", kind: skb, at: unix.BPF_CGROUP_INET_EGRESS, direction: Out, effect: Drops},
		{name: "tcx egress", kind: tc, place: atInterface, at: unix.BPF_TCX_EGRESS, direction: Out, effect: Redirects},
		{name: hookTCEgress, kind: tc, place: atInterface, direction: Out, effect: Redirects},
		{name: hookXDP, kind: "xdp", place: atInterface, direction: In, effect: Redirects, before: true},
		{name: "tcx ingress", kind: tc, place: atInterface, at: unix.BPF_TCX_INGRESS, direction: In, effect: Redirects, before: true},
		{name: hookTCIngress, kind: tc, place: atInterface, direction: In, effect: Redirects, before: true},
		{name: "sk_lookup", kind: "sk_lookup", place: atNamespace, at: unix.BPF_SK_LOOKUP, direction: In, effect: Steers},
		{name: "ingress", kind: skb, at: unix.BPF_CGROUP_INET_INGRESS, direction: In, effect: Drops},
	}
})

// hookIndex returns the place of a hook in the order.
func hookIndex(name string) int {
	return slices.IndexFunc(hooks(), func(h hook) bool { return h.name == name })
}

func hookNamed(name string) hook { return hooks()[hookIndex(name)] }

// program returns a program of the hook.
func (h hook) program(id uint32) Program {
	return Program{ID: id, Type: h.kind, Hook: h.name, Direction: h.direction, Effect: h.effect, BeforeRules: h.before}
}
