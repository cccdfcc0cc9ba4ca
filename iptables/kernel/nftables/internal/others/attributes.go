package others

import (
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
)

// attributes are those of an expression by their type.
type attributes map[uint16][]byte

// attributesOf reads an expression. It is not ok if there is an attribute above the last
// one that is known: it may mean anything.
func attributesOf(e expression.Expression, last uint16) (a attributes, ok bool) {
	a = make(attributes)
	for kind, value := range netlink.Attributes(e.Data) {
		if kind > last {
			return nil, false
		}
		a[kind] = value
	}
	return a, true
}

// number returns a number of 1, 2, 4 or 8 bytes, or 0.
func (a attributes) number(kind uint16) uint64 {
	n := uint64(0)
	for _, b := range a[kind] {
		n = n<<8 | uint64(b)
	}
	return n
}

func (a attributes) register(kind uint16) uint32 { return uint32(a.number(kind)) }

func (a attributes) text(kind uint16) string { return netlink.ReadString(a[kind]) }

func (a attributes) has(kind uint16) bool {
	_, ok := a[kind]
	return ok
}
