package rtnetlink

import (
	"context"
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// From linux/rtnetlink.h and linux/pkt_sched.h: struct tcmsg, and where the filters of the
// queueing disciplines clsact and ingress are.
const (
	sizeofTCMsg   = 20
	ingressParent = 0xfffffff2 // TC_H_CLSACT and TC_H_MIN_INGRESS
	egressParent  = 0xfffffff3 // TC_H_CLSACT and TC_H_MIN_EGRESS
)

// From linux/pkt_cls.h.
const (
	bpfName         = 7      // TCA_BPF_NAME
	bpfFlags        = 8      // TCA_BPF_FLAGS
	bpfID           = 11     // TCA_BPF_ID
	bpfDirectAction = 1 << 0 // TCA_BPF_FLAG_ACT_DIRECT
)

// Filter is a BPF program that decides about the packets of an interface (tc-bpf(8)).
type Filter struct {
	Link    uint32 // the interface's index
	Egress  bool   // for packets that go out
	Program uint32 // its id
	// Name is what whoever added it called it, such as "prog.o:[ingress]".
	Name string
	// DirectAction says that the program itself says what happens to packets.
	DirectAction bool
}

// Filters returns the BPF programs of tc(8) at the entrances and exits of all interfaces, in the
// order in which those of one run. There are none if the kernel has no queueing disciplines.
func Filters(ctx context.Context, ns *namespace.Namespace) ([]Filter, error) {
	disciplines, err := list(ctx, ns, netlink.Request{Kind: unix.RTM_GETQDISC, Header: tcHeader(0, 0)}, unix.RTM_NEWQDISC, decodeDiscipline)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []Filter
	for _, d := range disciplines {
		parents := []uint32{ingressParent, egressParent}
		if d.kind == "ingress" {
			parents = parents[:1]
		}
		for _, parent := range parents {
			filters, err := filtersAt(ctx, ns, d.link, parent)
			if err != nil {
				return nil, err
			}
			all = append(all, filters...)
		}
	}
	return all, nil
}

func filtersAt(ctx context.Context, ns *namespace.Namespace, link, parent uint32) ([]Filter, error) {
	r := netlink.Request{Kind: unix.RTM_GETTFILTER, Header: tcHeader(link, parent)}
	filters, err := list(ctx, ns, r, unix.RTM_NEWTFILTER, decodeFilter)
	for i := range filters {
		// Where interfaces share filters, the kernel does not say whose they are.
		filters[i].Link, filters[i].Egress = link, parent == egressParent
	}
	return filters, err
}

// tcHeader returns struct tcmsg.
func tcHeader(link, parent uint32) []byte {
	header := make([]byte, sizeofTCMsg)
	binary.NativeEndian.PutUint32(header[4:], link)
	binary.NativeEndian.PutUint32(header[12:], parent)
	return header
}

// discipline is a queueing discipline that has filters for everything that comes in or goes out.
type discipline struct {
	link uint32
	kind string
}

func decodeDiscipline(header, attributes []byte) (d discipline, ok bool) {
	d.link = binary.NativeEndian.Uint32(header[4:])
	for kind, value := range netlink.Attributes(attributes) {
		if kind == unix.TCA_KIND {
			d.kind = netlink.ReadString(value)
		}
	}
	return d, d.kind == "clsact" || d.kind == "ingress"
}

func decodeFilter(_, attributes []byte) (f Filter, ok bool) {
	isBPF := false
	for kind, value := range netlink.Attributes(attributes) {
		switch kind {
		case unix.TCA_KIND:
			isBPF = netlink.ReadString(value) == "bpf"
		case unix.TCA_OPTIONS:
			f.decodeOptions(value)
		}
	}
	return f, isBPF && f.Program != 0
}

func (f *Filter) decodeOptions(options []byte) {
	for kind, value := range netlink.Attributes(options) {
		switch kind {
		case bpfName:
			f.Name = netlink.ReadString(value)
		case bpfFlags:
			f.DirectAction = netlink.ReadNativeUint32(value)&bpfDirectAction != 0
		case bpfID:
			f.Program = netlink.ReadNativeUint32(value)
		}
	}
}
