package others

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"golang.org/x/sys/unix"
)

// set is a set or a map as the kernel has it.
type set struct {
	flags uint32
	// keySize is the size of its keys in bytes.
	keySize  int
	elements []element
}

// Flags of a set and an element that this package asks for (linux/netfilter/nf_tables.h).
const (
	setAnonymous    = 1 << 0
	setInterval     = 1 << 2
	setObjects      = 1 << 6
	elementEnd      = 1 << 0
	elementCatchall = 1 << 1
)

// element is an element of a set.
type element struct {
	// key is the value, or the first one of an interval. keyEnd is the last one, if the
	// kernel names it, as for concatenations.
	key, keyEnd []byte
	// end says that the key is the first value after an interval.
	end bool
	// catchall says that the element is for values without another one.
	catchall bool
	// What a map has for it.
	data    []byte
	verdict *expression.Verdict
	// asks says that it matches only if expressions of its own do, such as a limit.
	asks bool
}

// readSet reads NFT_MSG_NEWSET (enum nft_set_attributes).
func readSet(m netlink.Message) (key tables.SetKey, s *set, ok bool) {
	s = new(set)
	key.Table.Family, ok = tables.FamilyOf(m.Family())
	for kind, value := range m.Attributes() {
		switch kind {
		case unix.NFTA_SET_TABLE:
			key.Table.Name = netlink.ReadString(value)
		case unix.NFTA_SET_NAME:
			key.Name = netlink.ReadString(value)
		case unix.NFTA_SET_FLAGS:
			s.flags = netlink.ReadUint32(value)
		case unix.NFTA_SET_KEY_LEN:
			s.keySize = int(netlink.ReadUint32(value))
		}
	}
	return key, s, ok
}

// readElements reads NFT_MSG_NEWSETELEM (enum nft_set_elem_list_attributes).
func readElements(m netlink.Message) (key tables.SetKey, elements []element, ok bool) {
	key.Table.Family, ok = tables.FamilyOf(m.Family())
	for kind, value := range m.Attributes() {
		switch kind {
		case unix.NFTA_SET_ELEM_LIST_TABLE:
			key.Table.Name = netlink.ReadString(value)
		case unix.NFTA_SET_ELEM_LIST_SET:
			key.Name = netlink.ReadString(value)
		case unix.NFTA_SET_ELEM_LIST_ELEMENTS:
			for _, item := range netlink.Attributes(value) {
				elements = append(elements, readElement(item))
			}
		}
	}
	return key, elements, ok
}

// Attributes that golang.org/x/sys/unix does not have.
const (
	elementKeyEnd      = 10 // NFTA_SET_ELEM_KEY_END
	elementExpressions = 11 // NFTA_SET_ELEM_EXPRESSIONS
)

// readElement reads enum nft_set_elem_attributes.
func readElement(b []byte) (x element) {
	for kind, value := range netlink.Attributes(b) {
		switch kind {
		case unix.NFTA_SET_ELEM_KEY:
			x.key = bytes.Clone(expression.ReadData(value))
		case elementKeyEnd:
			x.keyEnd = bytes.Clone(expression.ReadData(value))
		case unix.NFTA_SET_ELEM_DATA:
			x.data = bytes.Clone(expression.ReadData(value))
			if v, ok := expression.ReadVerdict(value); ok {
				x.verdict = &v
			}
		case unix.NFTA_SET_ELEM_FLAGS:
			flags := netlink.ReadUint32(value)
			x.end, x.catchall = flags&elementEnd != 0, flags&elementCatchall != 0
		case unix.NFTA_SET_ELEM_EXPR:
			x.asks = x.asks || asks(value)
		case elementExpressions:
			for _, e := range netlink.Attributes(value) {
				x.asks = x.asks || asks(e)
			}
		}
	}
	return x
}

// asks reports whether an expression of an element decides whether it matches.
func asks(b []byte) bool {
	for kind, value := range netlink.Attributes(b) {
		if kind == unix.NFTA_EXPR_NAME {
			n := netlink.ReadString(value)
			return n != "counter" && n != "last"
		}
	}
	return true
}

// interval is an element with both ends.
type interval struct {
	element
	last []byte
}

// intervals returns the elements, with the ends of intervals, but for that of all other
// values.
func (s *set) intervals() []interval {
	var all []interval
	sorted := slices.SortedStableFunc(slices.Values(s.elements), func(a, b element) int {
		// The end of an interval comes before the next one that begins there.
		return cmp.Or(bytes.Compare(a.key, b.key), boolean(b.end)-boolean(a.end))
	})
	sorted = slices.DeleteFunc(sorted, func(x element) bool { return x.catchall })
	for i, x := range sorted {
		last := x.key
		switch {
		case x.end:
			continue
		case x.keyEnd != nil:
			last = x.keyEnd
		case s.flags&setInterval != 0:
			last = bytes.Repeat([]byte{0xff}, len(x.key))
			if i+1 < len(sorted) {
				last = decrement(sorted[i+1].key)
			}
		}
		all = append(all, interval{x, last})
	}
	return all
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
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

// catchall returns the element for all other values, if there is one.
func (s *set) catchall() (x element, ok bool) {
	for _, x := range s.elements {
		if x.catchall {
			return x, true
		}
	}
	return x, false
}

// decode returns an element of a set that loads are looked up in. It is not ok if the
// lengths differ, or if an interval goes over more than one value and is not one of each.
func (x interval) decode(loads []load, links func(uint32) string) (e iptables.Element, ok bool) {
	for _, l := range loads {
		first, last := slice(x.key, l), slice(x.last, l)
		if first == nil || last == nil {
			return nil, false
		}
		if len(loads) > 1 && x.keyEnd == nil && !bytes.Equal(x.key, x.last) {
			return nil, false
		}
		e = append(e, l.interval(first, last, links))
	}
	return e, true
}

func slice(b []byte, l load) []byte {
	if l.offset+l.key.Size > len(b) {
		return nil
	}
	return b[l.offset : l.offset+l.key.Size]
}

// interval returns values as a register has them in network order. Numbers of interfaces
// become names.
func (l load) interval(first, last []byte, links func(uint32) string) iptables.Interval {
	if l.kind == index && len(first) == 4 && bytes.Equal(first, last) {
		return iptables.InterfaceInterval(links(uint32(toNumber(inOrder(first, l.host)))))
	}
	return iptables.Interval{
		First: iptables.Value(inOrder(first, l.host)), Last: iptables.Value(inOrder(last, l.host)),
	}
}
