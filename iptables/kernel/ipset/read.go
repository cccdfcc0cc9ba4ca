package ipset

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// Read reads the sets of these names. It changes nothing. If the kernel has no ipset, there
// are none.
func Read(ctx context.Context, ns *namespace.Namespace, names []string) (State, error) {
	conn, err := ns.Netfilter()
	if err != nil {
		return nil, err
	}
	state := make(State)
	for _, name := range names {
		set, err := read(ctx, conn, name)
		switch {
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EINVAL):
			// nfnetlink answers EINVAL for a missing subsystem.
			continue
		case err != nil:
			return nil, err
		}
		state[name] = set
	}
	return state, nil
}

// read reads a set: its header comes first, then its addresses, in parts
// (ip_set_dump_do in net/netfilter/ipset/ip_set_core.c).
func read(ctx context.Context, conn *netlink.Conn, name string) (Set, error) {
	r := reader{Set: Set{AddressSet: iptables.AddressSet{Family: iptables.IPv4, Name: name}}}
	err := conn.Dump(ctx, netlink.Request{
		Kind: unix.NFNL_SUBSYS_IPSET<<8 | commandList,
		Attributes: func(b *netlink.Builder) {
			b.PutBytes(attrProtocol, []byte{protocol})
			b.PutString(attrName, name)
		},
		Purpose: netlink.Purpose("read the set " + name),
	}, r.message)
	if err != nil {
		return Set{}, err
	}
	if r.kind != kind {
		return Set{}, fmt.Errorf("the set %s is of type %s, not %s: others use the name", name, r.kind, kind)
	}
	slices.SortFunc(r.Addresses, netip.Addr.Compare)
	return r.Set, nil
}

type reader struct {
	Set
	kind string
}

func (r *reader) message(m netlink.Message) {
	for attribute, value := range m.Attributes() {
		switch attribute {
		case attrType:
			r.kind = netlink.ReadString(value)
		case attrFamily:
			if len(value) == 1 && value[0] == unix.AF_INET6 {
				r.Family = iptables.IPv6
			}
		case attrData:
			for attribute, value := range netlink.Attributes(value) {
				if attribute == attrMaxElements {
					r.Ours = netlink.ReadUint32(value) == maxElements
				}
			}
		case attrEntries:
			for _, entry := range netlink.Attributes(value) {
				r.entry(entry)
			}
		}
	}
}

// entry reads one address: IPSET_ATTR_IP, with the address of its family nested in it.
func (r *reader) entry(data []byte) {
	for attribute, value := range netlink.Attributes(data) {
		if attribute != attrAddress {
			continue
		}
		for _, value := range netlink.Attributes(value) {
			if a, ok := netip.AddrFromSlice(value); ok {
				r.Addresses = append(r.Addresses, a)
			}
		}
	}
}
