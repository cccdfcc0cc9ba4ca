package native

import (
	"encoding/binary"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"golang.org/x/sys/unix"
)

// element is an element as the kernel has it: a value in the set, or the first value
// after an interval.
type element struct {
	key iptables.Value
	end bool
}

func (x element) put(b *netlink.Builder) {
	b.Nest(unix.NFTA_LIST_ELEM, func() {
		if x.end {
			b.PutUint32(unix.NFTA_SET_ELEM_FLAGS, elementEnd)
		}
		b.Nest(unix.NFTA_SET_ELEM_KEY, func() { b.PutBytes(unix.NFTA_DATA_VALUE, []byte(x.key)) })
	})
}

// valuesOf returns the elements of a set of single values.
func valuesOf(s iptables.Set, hostOrder bool) []element {
	elements := make([]element, len(s.Elements))
	for i, x := range s.Elements {
		elements[i].key = inOrder(x.First, hostOrder)
	}
	return elements
}

// boundsOf returns the elements of a set of intervals.
func boundsOf(s iptables.Set, size int) []element {
	elements := make([]element, 0, 2*len(s.Elements)+1)
	if zero := iptables.Value(make([]byte, size)); s.Elements[0].First != zero {
		// As nft does: values below the first interval are outside.
		elements = append(elements, element{zero, true})
	}
	for _, x := range s.Elements {
		elements = append(elements, element{x.First, false})
		if after, ok := x.Last.Next(); ok {
			elements = append(elements, element{after, true})
		}
	}
	return elements
}

// inOrder converts a value between network and host order.
func inOrder(v iptables.Value, host bool) iptables.Value {
	if host && len(v) == 4 {
		return iptables.Value(native32(binary.BigEndian.Uint32([]byte(v))))
	}
	return v
}

func decrement(v iptables.Value) iptables.Value {
	before := []byte(v)
	for i := len(before) - 1; i >= 0; i-- {
		before[i]--
		if before[i] != 0xff {
			break
		}
	}
	return iptables.Value(before)
}
