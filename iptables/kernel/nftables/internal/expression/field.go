package expression

import (
	"bytes"
	"math/bits"

	"github.com/meshtables/meshtables/iptables"
)

// Field is an address in the network header.
type Field struct {
	Offset uint32
	Size   int
}

// SourceOf returns the source address, by struct iphdr (linux/ip.h) and struct ipv6hdr
// (linux/ipv6.h).
func SourceOf(family iptables.Family) Field {
	if family == iptables.IPv6 {
		return Field{8, 16}
	}
	return Field{12, 4}
}

// DestinationOf returns the destination address, which follows the source address.
func DestinationOf(family iptables.Family) Field {
	f := SourceOf(family)
	f.Offset += uint32(f.Size)
	return f
}

func prefixMask(bits, size int) []byte {
	mask := make([]byte, size)
	for i := range mask {
		switch rest := bits - 8*i; {
		case rest >= 8:
			mask[i] = 0xff
		case rest > 0:
			mask[i] = ^byte(0xff >> rest)
		}
	}
	return mask
}

// maskLength returns the prefix length of a mask, or -1.
func maskLength(mask []byte) int {
	n := 0
	for n < len(mask) && mask[n] == 0xff {
		n++
	}
	length := 8 * n
	if n < len(mask) {
		length += bits.LeadingZeros8(^mask[n])
	}
	if !bytes.Equal(mask, prefixMask(length, len(mask))) {
		return -1
	}
	return length
}
