package rtnetlink

import (
	"context"
	"encoding/binary"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// From linux/if.h, linux/rtnetlink.h and linux/veth.h.
const (
	operationalUp     = 6      // IF_OPER_UP
	withoutStatistics = 1 << 3 // RTEXT_FILTER_SKIP_STATS
	vethInfoPeer      = 1      // VETH_INFO_PEER
)

// Link is an interface.
type Link struct {
	Index uint32
	Name  string
	// XDP are the ids of the BPF programs that see its packets first, one for each mode.
	XDP []uint32
	// Peer is the index of the interface that it is tied to, such as the other end of a pair of
	// veth(4); 0 if there is none. PeerNamespace is the number, in this namespace, of the one that
	// has it, if that is another (RTM_GETNSID); else -1.
	Peer          uint32
	PeerNamespace int32
	// Master is the index of the bridge, or the like, that it is a port of; 0 if there is none.
	Master uint32
	// Kind is the driver's name of interfaces that are made over netlink, such as "bridge".
	Kind     string
	flags    uint32 // IFF_* of netdevice(7)
	hardware uint16 // ARPHRD_* of linux/if_arp.h
	state    byte   // IF_OPER_* of linux/if.h
}

// IsUp reports whether the interface is to have traffic.
func (l Link) IsUp() bool { return l.flags&unix.IFF_UP != 0 }

// IsLoopback reports whether it is the loopback interface.
func (l Link) IsLoopback() bool { return l.flags&unix.IFF_LOOPBACK != 0 }

// HasFrames reports whether it carries Ethernet frames: of the two kinds of interfaces that
// programs serve, taps do, and tunnels do not.
func (l Link) HasFrames() bool { return l.hardware == unix.ARPHRD_ETHER }

// IsOperational reports whether packets leave the interface
// (Documentation/networking/operstates.rst).
func (l Link) IsOperational() bool { return l.state == operationalUp }

// Links returns the interfaces, in the kernel's order.
func Links(ctx context.Context, ns *namespace.Namespace) ([]Link, error) {
	// Statistics are most of what the kernel would tell.
	r := netlink.Request{Kind: unix.RTM_GETLINK, Header: linkHeader(0), Attributes: func(b *netlink.Builder) {
		b.PutNativeUint32(unix.IFLA_EXT_MASK, withoutStatistics)
	}}
	return list(ctx, ns, r, unix.RTM_NEWLINK, decodeLink)
}

// LinkByName returns an interface. The error is ENODEV if there is none.
func LinkByName(ctx context.Context, ns *namespace.Namespace, name string) (Link, error) {
	kind := uint16(unix.IFLA_IFNAME)
	if len(name) >= unix.IFNAMSIZ {
		// Only alternative names are so long.
		kind = unix.IFLA_ALT_IFNAME
	}
	r := netlink.Request{Kind: unix.RTM_GETLINK, Header: linkHeader(0), Attributes: func(b *netlink.Builder) {
		b.PutString(kind, name)
	}}
	return ask(ctx, ns, r, decodeLink)
}

// LinkByIndex returns an interface. The error is ENODEV if there is none.
func LinkByIndex(ctx context.Context, ns *namespace.Namespace, index uint32) (Link, error) {
	return ask(ctx, ns, netlink.Request{Kind: unix.RTM_GETLINK, Header: linkHeader(index)}, decodeLink)
}

// NumberOf returns the number that a namespace has in another, by the file of the first; -1 if it
// has none there (rtnl_net_getid in net/core/net_namespace.c).
func NumberOf(ctx context.Context, ns *namespace.Namespace, file *os.File) (int32, error) {
	// struct rtgenmsg, padded.
	header := make([]byte, 4)
	r := netlink.Request{Kind: unix.RTM_GETNSID, Header: header, Attributes: func(b *netlink.Builder) {
		b.PutNativeUint32(unix.NETNSA_FD, uint32(file.Fd()))
	}}
	return ask(ctx, ns, r, func(_, attributes []byte) (int32, bool) {
		for kind, value := range netlink.Attributes(attributes) {
			if kind == unix.NETNSA_NSID {
				return int32(netlink.ReadNativeUint32(value)), true
			}
		}
		return 0, false
	})
}

// SetUp brings an interface up.
func SetUp(ctx context.Context, ns *namespace.Namespace, index uint32) error {
	header := linkHeader(index)
	binary.NativeEndian.PutUint32(header[8:], unix.IFF_UP)
	binary.NativeEndian.PutUint32(header[12:], unix.IFF_UP) // the flags to change
	return tell(ctx, ns, netlink.Request{Kind: unix.RTM_NEWLINK, Header: header})
}

// AddPair makes a pair of interfaces (veth(4)) of one name, the second of them in another
// namespace.
func AddPair(ctx context.Context, ns *namespace.Namespace, name string, other *os.File) error {
	return tell(ctx, ns, netlink.Request{Kind: unix.RTM_NEWLINK, Flags: create, Header: linkHeader(0), Attributes: func(b *netlink.Builder) {
		b.PutString(unix.IFLA_IFNAME, name)
		b.Nest(unix.IFLA_LINKINFO, func() {
			b.PutString(unix.IFLA_INFO_KIND, "veth")
			b.Nest(unix.IFLA_INFO_DATA, func() {
				b.Nest(vethInfoPeer, func() {
					b.Append(linkHeader(0))
					b.PutString(unix.IFLA_IFNAME, name)
					b.PutNativeUint32(unix.IFLA_NET_NS_FD, uint32(other.Fd()))
				})
			})
		})
	}})
}

// DeleteLink deletes an interface.
func DeleteLink(ctx context.Context, ns *namespace.Namespace, index uint32) error {
	return tell(ctx, ns, netlink.Request{Kind: unix.RTM_DELLINK, Flags: remove, Header: linkHeader(index)})
}

// linkHeader returns struct ifinfomsg (linux/rtnetlink.h).
func linkHeader(index uint32) []byte {
	header := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(header[4:], index)
	return header
}

func decodeLink(header, attributes []byte) (l Link, ok bool) {
	l.PeerNamespace = -1
	l.hardware = binary.NativeEndian.Uint16(header[2:])
	l.Index = binary.NativeEndian.Uint32(header[4:])
	l.flags = binary.NativeEndian.Uint32(header[8:])
	for kind, value := range netlink.Attributes(attributes) {
		switch {
		case kind == unix.IFLA_IFNAME:
			l.Name = netlink.ReadString(value)
		case kind == unix.IFLA_LINK:
			l.Peer = netlink.ReadNativeUint32(value)
		case kind == unix.IFLA_MASTER:
			l.Master = netlink.ReadNativeUint32(value)
		case kind == unix.IFLA_LINK_NETNSID:
			l.PeerNamespace = int32(netlink.ReadNativeUint32(value))
		case kind == unix.IFLA_OPERSTATE && len(value) == 1:
			l.state = value[0]
		case kind == unix.IFLA_XDP:
			l.XDP = decodeXDP(value)
		case kind == unix.IFLA_LINKINFO:
			for kind, value := range netlink.Attributes(value) {
				if kind == unix.IFLA_INFO_KIND {
					l.Kind = netlink.ReadString(value)
				}
			}
		}
	}
	return l, l.Name != ""
}

// decodeXDP returns the ids of programs. The one of a single mode is there twice.
func decodeXDP(attributes []byte) []uint32 {
	var programs []uint32
	for kind, value := range netlink.Attributes(attributes) {
		switch kind {
		case unix.IFLA_XDP_PROG_ID, unix.IFLA_XDP_DRV_PROG_ID, unix.IFLA_XDP_SKB_PROG_ID, unix.IFLA_XDP_HW_PROG_ID:
			if id := netlink.ReadNativeUint32(value); id != 0 && !slices.Contains(programs, id) {
				programs = append(programs, id)
			}
		}
	}
	return programs
}
