package native

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"golang.org/x/sys/unix"
)

// A list is an anonymous constant set: it belongs to the one rule that looks it up, comes
// and goes with it, and nobody else can change it. If all elements are single values, the
// kernel hashes them. Otherwise the set has intervals: an element for the first value of
// each, and a marked one for the first value after it (net/netfilter/nft_set_rbtree.c).

// setField is how the kernel represents a field of a packet.
type setField struct {
	size int
	// kind is the datatype as which nft prints the elements (enum datatypes in nftables'
	// include/datatype.h).
	kind uint32
	load expression.Any
	// host says that the kernel loads the value in host order.
	host bool
}

const (
	datatypeIPv4  = 7
	datatypeIPv6  = 8
	datatypePort  = 13
	datatypeUID   = 24
	datatypeGID   = 25
	datatypeIface = 41
)

// setFieldOf returns a field for values of that size; addresses have two sizes.
func setFieldOf(f iptables.SetField, size int) (setField, error) {
	switch f {
	case iptables.SourceAddress, iptables.DestinationAddress:
		kind, family := uint32(datatypeIPv4), iptables.IPv4
		if size != 4 {
			kind, family = datatypeIPv6, iptables.IPv6
		}
		at := expression.SourceOf(family)
		if f == iptables.DestinationAddress {
			at = expression.DestinationOf(family)
		}
		return payloadField(kind, unix.NFT_PAYLOAD_NETWORK_HEADER, at.Offset, at.Size), nil
	case iptables.SourcePort:
		return payloadField(datatypePort, unix.NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2), nil
	case iptables.DestinationPort:
		return payloadField(datatypePort, unix.NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2), nil
	case iptables.InInterface:
		return metaField(datatypeIface, unix.NFT_META_IIFNAME, unix.IFNAMSIZ, false), nil
	case iptables.OutInterface:
		return metaField(datatypeIface, unix.NFT_META_OIFNAME, unix.IFNAMSIZ, false), nil
	case iptables.OwnerUID:
		return metaField(datatypeUID, unix.NFT_META_SKUID, 4, true), nil
	case iptables.OwnerGID:
		return metaField(datatypeGID, unix.NFT_META_SKGID, 4, true), nil
	}
	return setField{}, fmt.Errorf("%s cannot be looked up", f)
}

func payloadField(kind uint32, base expression.PayloadBase, offset uint32, size int) setField {
	return setField{size: size, kind: kind,
		load: &expression.Payload{DestRegister: register, Base: base, Offset: offset, Len: uint32(size)}}
}

func metaField(kind uint32, key expression.MetaKey, size int, host bool) setField {
	return setField{size: size, kind: kind, host: host, load: &expression.Meta{Key: key, Register: register}}
}

// hasIntervals reports whether a set needs more than a hash table.
func hasIntervals(s iptables.Set) bool {
	return slices.ContainsFunc(s.Elements, func(i iptables.Interval) bool { return i.First != i.Last })
}

func (e *encoder) lookup(s iptables.Set) {
	if len(s.Elements) == 0 {
		e.Fail(fmt.Errorf("the set of %s is empty", s.Field))
		return
	}
	if s.Not && (s.Field == iptables.OwnerUID || s.Field == iptables.OwnerGID) {
		e.Fail(notAskable(s))
		return
	}
	f, err := setFieldOf(s.Field, len(s.Elements[0].First))
	if err != nil {
		e.Fail(err)
		return
	}
	e.Add(f.load)
	if f.host && hasIntervals(s) {
		e.networkOrder()
	}
	e.Add(&expression.Lookup{SourceRegister: register, SetName: anonymousSet, SetID: e.newSet(s), Invert: s.Not})
}

// anonymousSet is the pattern from which the kernel makes a set's name, with its own
// number.
const anonymousSet = "__set%d"

// Flags of a set and an element (linux/netfilter/nf_tables.h).
const (
	setAnonymous = 1 << 0
	setConstant  = 1 << 1
	setInterval  = 1 << 2
	elementEnd   = 1 << 0
)

// maxBitmap is how many single ports are written without intervals: the kernel keeps
// values of two bytes in a bitmap, beside a list that it searches for every new one
// (nft_bitmap_insert in net/netfilter/nft_set_bitmap.c). 10,000 take 0.3 s longer there
// than as intervals.
const maxBitmap = 1000

// maxElements keeps a message's list of elements below 64 KiB, the limit of an attribute.
const maxElements = 1500

// newSet appends a set for a later rule to look up.
func newSet(b *tables.Changes, t tables.Key, s iptables.Set, id uint32) {
	o := tables.Operation{What: "create a set in", Key: t}
	f, err := setFieldOf(s.Field, len(s.Elements[0].First))
	if err != nil {
		b.Fail(o, err)
		return
	}
	flags := uint32(setAnonymous | setConstant)
	elements := valuesOf(s, f.host)
	if hasIntervals(s) || f.kind == datatypePort && len(elements) > maxBitmap {
		flags |= setInterval
		elements = boundsOf(s, f.size)
	}
	b.Change(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, o, func(b *netlink.Builder) {
		b.PutString(unix.NFTA_SET_TABLE, t.Name)
		b.PutString(unix.NFTA_SET_NAME, anonymousSet)
		b.PutUint32(unix.NFTA_SET_ID, id)
		b.PutUint32(unix.NFTA_SET_FLAGS, flags)
		b.PutUint32(unix.NFTA_SET_KEY_TYPE, f.kind)
		b.PutUint32(unix.NFTA_SET_KEY_LEN, uint32(f.size))
		b.Nest(unix.NFTA_SET_DESC, func() {
			b.PutUint32(unix.NFTA_SET_DESC_SIZE, uint32(len(elements)))
		})
		b.PutBytes(unix.NFTA_SET_USERDATA, keyOrder(f))
	})
	for chunk := range slices.Chunk(elements, maxElements) {
		b.Change(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, o, func(b *netlink.Builder) {
			b.PutString(unix.NFTA_SET_ELEM_LIST_TABLE, t.Name)
			b.PutString(unix.NFTA_SET_ELEM_LIST_SET, anonymousSet)
			b.PutUint32(unix.NFTA_SET_ELEM_LIST_SET_ID, id)
			b.Nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS, func() {
				for _, x := range chunk {
					x.put(b)
				}
			})
		})
	}
}

// keyOrder tells nft the byte order of the field's values (NFTNL_UDATA_SET_KEYBYTEORDER
// in libnftnl/udata.h, enum byteorder in nftables' include/datatype.h): 1 is the host's,
// 2 the network's.
func keyOrder(f setField) []byte {
	order := uint32(2)
	if f.host || f.kind == datatypeIface {
		order = 1
	}
	return binary.NativeEndian.AppendUint32([]byte{0, 4}, order)
}
