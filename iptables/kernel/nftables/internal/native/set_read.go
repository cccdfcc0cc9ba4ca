package native

import (
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"golang.org/x/sys/unix"
)

// installedSet is an anonymous set as the kernel has it.
type installedSet struct {
	flags    uint32
	kind     uint32 // the datatype of its keys
	ours     bool   // has the name of one of ours
	elements []element
}

// decode returns the intervals of a set with values of that size. It is not ok for sets
// that we do not write.
func (s *installedSet) decode(f iptables.SetField, size int, hostOrder bool) (set iptables.Set, ok bool) {
	if s == nil || s.flags&^setInterval != setAnonymous|setConstant || len(s.elements) == 0 {
		return set, false
	}
	sorted := s.sorted(hostOrder)
	intervals := make([]iptables.Interval, 0, len(sorted))
	for i, x := range sorted {
		if len(x.key) != size {
			return set, false
		}
		interval := iptables.Interval{First: x.key, Last: x.key}
		if s.flags&setInterval != 0 {
			if x.end {
				continue
			}
			interval.Last = iptables.Value(strings.Repeat("\xff", size))
			if i+1 < len(sorted) {
				interval.Last = decrement(sorted[i+1].key)
			}
		}
		if f == iptables.InInterface || f == iptables.OutInterface {
			// nft joins "veth0*" and "veth1*" when it reads its own listing.
			intervals = append(intervals, interval.Interfaces()...)
			continue
		}
		intervals = append(intervals, interval)
	}
	return iptables.NewSet(f, false, intervals), len(intervals) > 0
}

// sorted returns the elements with their keys in the order of the network, by key.
func (s *installedSet) sorted(hostOrder bool) []element {
	elements := slices.Clone(s.elements)
	for i := range elements {
		elements[i].key = inOrder(elements[i].key, hostOrder)
	}
	slices.SortFunc(elements, func(a, b element) int {
		order := strings.Compare(string(a.key), string(b.key))
		switch {
		case order != 0 || a.end == b.end:
			return order
		case a.end:
			// It ends the interval before the one that b begins.
			return -1
		}
		return 1
	})
	return elements
}

// AddSet adds a set if it is in this table. It reads NFT_MSG_NEWSET (enum
// nft_set_attributes).
func (t *Table) AddSet(m netlink.Message) {
	var name, table string
	set := &installedSet{}
	for kind, value := range m.Attributes() {
		switch kind {
		case unix.NFTA_SET_TABLE:
			table = netlink.ReadString(value)
		case unix.NFTA_SET_NAME:
			name = netlink.ReadString(value)
		case unix.NFTA_SET_FLAGS:
			set.flags = netlink.ReadUint32(value)
		case unix.NFTA_SET_KEY_TYPE:
			set.kind = netlink.ReadUint32(value)
		}
	}
	if t.found && table == tableKey.Name {
		set.ours = slices.Contains(t.Ownership.Sets, name)
		t.sets[name] = set
	}
}

// AddElements adds elements to their set. It reads NFT_MSG_NEWSETELEM (enum
// nft_set_elem_list_attributes).
func (t *Table) AddElements(m netlink.Message) {
	var name, table string
	var elements []byte
	for kind, value := range m.Attributes() {
		switch kind {
		case unix.NFTA_SET_ELEM_LIST_TABLE:
			table = netlink.ReadString(value)
		case unix.NFTA_SET_ELEM_LIST_SET:
			name = netlink.ReadString(value)
		case unix.NFTA_SET_ELEM_LIST_ELEMENTS:
			elements = value
		}
	}
	set := t.sets[name]
	if set == nil || table != tableKey.Name {
		return
	}
	for _, item := range netlink.Attributes(elements) {
		set.elements = append(set.elements, readElement(item))
	}
}

// readElement reads enum nft_set_elem_attributes. For a map's data, or anything else, it
// returns a key that no field has.
func readElement(b []byte) (x element) {
	for kind, value := range netlink.Attributes(b) {
		switch kind {
		case unix.NFTA_SET_ELEM_KEY:
			x.key = iptables.Value(expression.ReadData(value))
		case unix.NFTA_SET_ELEM_FLAGS:
			x.end = netlink.ReadUint32(value)&elementEnd != 0
		case unix.NFTA_SET_ELEM_PAD, unix.NFTA_SET_ELEM_USERDATA:
		default:
			return element{}
		}
	}
	return x
}
