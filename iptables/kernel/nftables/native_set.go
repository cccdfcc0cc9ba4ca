package nftables

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables/expr"
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/netlink"
	"golang.org/x/sys/unix"
)

// A list is an anonymous constant set: it belongs to the one rule that looks it
// up, comes and goes with it, and nobody else can change it. Where all elements
// are single values the kernel hashes them; otherwise the set has intervals, each
// an element for its first value and one, marked, for the first value after it
// (net/netfilter/nft_set_rbtree.c).

// setField is how the kernel has a field of a packet.
type setField struct {
	size int
	// kind is the datatype by which nft prints the elements (enum datatypes
	// in nftables' include/datatype.h).
	kind uint32
	load expr.Any
	// host tells that the kernel loads the value in the order of the host.
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

// setFieldOf returns a field for values of that size; addresses have two.
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
		return payloadField(kind, expr.PayloadBaseNetworkHeader, at.Offset, at.Size), nil
	case iptables.SourcePort:
		return payloadField(datatypePort, expr.PayloadBaseTransportHeader, 0, 2), nil
	case iptables.DestinationPort:
		return payloadField(datatypePort, expr.PayloadBaseTransportHeader, 2, 2), nil
	case iptables.InInterface:
		return metaField(datatypeIface, expr.MetaKeyIIFNAME, unix.IFNAMSIZ, false), nil
	case iptables.OutInterface:
		return metaField(datatypeIface, expr.MetaKeyOIFNAME, unix.IFNAMSIZ, false), nil
	case iptables.OwnerUID:
		return metaField(datatypeUID, expr.MetaKeySKUID, 4, true), nil
	case iptables.OwnerGID:
		return metaField(datatypeGID, expr.MetaKeySKGID, 4, true), nil
	}
	return setField{}, fmt.Errorf("there is no way to look %s up", f)
}

func payloadField(kind uint32, base expr.PayloadBase, offset uint32, size int) setField {
	return setField{size: size, kind: kind,
		load: &expr.Payload{DestRegister: register, Base: base, Offset: offset, Len: uint32(size)}}
}

func metaField(kind uint32, key expr.MetaKey, size int, host bool) setField {
	return setField{size: size, kind: kind, host: host, load: &expr.Meta{Key: key, Register: register}}
}

// hasIntervals reports whether a set needs more than a hash table.
func hasIntervals(s iptables.Set) bool {
	return slices.ContainsFunc(s.Elements, func(i iptables.Interval) bool { return i.First != i.Last })
}

func (e *nativeEncoder) lookup(s iptables.Set) error {
	if len(s.Elements) == 0 {
		return fmt.Errorf("the set of %s is empty", s.Field)
	}
	if s.Not && (s.Field == iptables.OwnerUID || s.Field == iptables.OwnerGID) {
		return fmt.Errorf("the native form cannot ask who a packet is not from (%s)", iptables.Rule{Matches: []iptables.Match{s}})
	}
	f, err := setFieldOf(s.Field, len(s.Elements[0].First))
	if err != nil {
		return err
	}
	e.Add(f.load)
	if f.host && hasIntervals(s) {
		e.networkOrder()
	}
	e.Add(&expr.Lookup{SourceRegister: register, SetName: anonymousSet, SetID: e.newSet(s), Invert: s.Not})
	return nil
}

// anonymousSet is the pattern of which the kernel makes the name of a set that it
// numbers itself.
const anonymousSet = "__set%d"

// Flags of a set and an element (linux/netfilter/nf_tables.h).
const (
	setAnonymous = 1 << 0
	setConstant  = 1 << 1
	setInterval  = 1 << 2
	elementEnd   = 1 << 0
)

// maxBitmap is the number of single ports up to which they are no intervals: the
// kernel keeps values of two bytes in a bitmap, beside a list that it searches
// whenever one is added (nft_bitmap_insert in net/netfilter/nft_set_bitmap.c). 10,000
// take 0.3 s longer there than as intervals.
const maxBitmap = 1000

// maxElements keeps a message's list of elements below 64 KiB, the most that an
// attribute can hold.
const maxElements = 1500

// newSet writes a set into the batch, to be looked up by a rule after it.
func (b *batch) newSet(t tableKey, s iptables.Set, id uint32) {
	o := operation{what: "create a set in", family: t.family, table: t.name}
	f, err := setFieldOf(s.Field, len(s.Elements[0].First))
	if err != nil {
		b.fail(o, err)
		return
	}
	flags := uint32(setAnonymous | setConstant)
	elements := valuesOf(s, f.host)
	if hasIntervals(s) || f.kind == datatypePort && len(elements) > maxBitmap {
		flags |= setInterval
		elements = boundsOf(s, f.size)
	}
	b.add(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, o, func(b *netlink.Builder) {
		b.PutString(unix.NFTA_SET_TABLE, t.name)
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
		b.add(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, o, func(b *netlink.Builder) {
			b.PutString(unix.NFTA_SET_ELEM_LIST_TABLE, t.name)
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

// keyOrder tells nft in which order of bytes values of the field are
// (NFTNL_UDATA_SET_KEYBYTEORDER in libnftnl/udata.h, enum byteorder in nftables'
// include/datatype.h): 1 is the host's, 2 the network's.
func keyOrder(f setField) []byte {
	order := uint32(2)
	if f.host || f.kind == datatypeIface {
		order = 1
	}
	return binary.NativeEndian.AppendUint32([]byte{0, 4}, order)
}

// element is one as the kernel has it: a value that is in the set, or the first
// one after an interval.
type element struct {
	key []byte
	end bool
}

func (x element) put(b *netlink.Builder) {
	b.Nest(unix.NFTA_LIST_ELEM, func() {
		if x.end {
			b.PutUint32(unix.NFTA_SET_ELEM_FLAGS, elementEnd)
		}
		b.Nest(unix.NFTA_SET_ELEM_KEY, func() { b.PutBytes(unix.NFTA_DATA_VALUE, x.key) })
	})
}

// valuesOf returns the elements of a set of single values.
func valuesOf(s iptables.Set, hostOrder bool) []element {
	elements := make([]element, len(s.Elements))
	for i, x := range s.Elements {
		elements[i].key = inOrder([]byte(x.First), hostOrder)
	}
	return elements
}

// boundsOf returns the elements of a set of intervals.
func boundsOf(s iptables.Set, size int) []element {
	var elements []element
	if zero := make([]byte, size); string(s.Elements[0].First) != string(zero) {
		// As nft does: what is below the first interval is outside.
		elements = append(elements, element{zero, true})
	}
	for _, x := range s.Elements {
		elements = append(elements, element{[]byte(x.First), false})
		if after, ok := increment([]byte(x.Last)); ok {
			elements = append(elements, element{after, true})
		}
	}
	return elements
}

// inOrder turns a value of the network's order into the host's, or back.
func inOrder(v []byte, host bool) []byte {
	if host && len(v) == 4 {
		return native32(binary.BigEndian.Uint32(v))
	}
	return v
}

// increment returns the value after v; it is not ok if v is the greatest.
func increment(v []byte) (after []byte, ok bool) {
	after = slices.Clone(v)
	for i := len(after) - 1; i >= 0; i-- {
		after[i]++
		if after[i] != 0 {
			return after, true
		}
	}
	return after, false
}

func decrement(v []byte) []byte {
	before := slices.Clone(v)
	for i := len(before) - 1; i >= 0; i-- {
		before[i]--
		if before[i] != 0xff {
			break
		}
	}
	return before
}

// installedSet is an anonymous set as the kernel has it.
type installedSet struct {
	flags    uint32
	elements []element
}

// decode returns the intervals of a set whose values have that size. It is not ok
// if it is none that we write.
func (s *installedSet) decode(f iptables.SetField, size int, hostOrder bool) (set iptables.Set, ok bool) {
	if s == nil || s.flags&^setInterval != setAnonymous|setConstant || len(s.elements) == 0 {
		return set, false
	}
	var intervals []iptables.Interval
	sorted := slices.SortedStableFunc(slices.Values(s.elements), func(a, b element) int {
		return strings.Compare(string(inOrder(a.key, hostOrder)), string(inOrder(b.key, hostOrder)))
	})
	for i, x := range sorted {
		first := inOrder(x.key, hostOrder)
		if len(first) != size {
			return set, false
		}
		last := first
		if s.flags&setInterval != 0 {
			if x.end {
				continue
			}
			last = []byte(strings.Repeat("\xff", size))
			if i+1 < len(sorted) {
				last = decrement(sorted[i+1].key)
			}
		}
		intervals = append(intervals, iptables.Interval{First: iptables.Value(first), Last: iptables.Value(last)})
	}
	return iptables.NewSet(f, false, intervals), len(intervals) > 0
}
