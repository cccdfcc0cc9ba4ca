package others

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"
)

// registers are what a rule has loaded, by the offset of the first byte. The registers of
// 16 bytes and those of 4 are the same memory (enum nft_registers in
// linux/netfilter/nf_tables.h).
type registers map[int]content

// registersSize is the size of all registers in bytes.
const registersSize = 16 * 4

// content is what a register holds: values of the packet, one after the other, a constant,
// or what a map gives.
type content struct {
	loads    []load
	constant []byte
	mapped   *mapped
}

// mapped is a value that a map gives.
type mapped struct {
	words  string // the lookup in nft's words
	values [][]byte
}

func (c content) size() int {
	size := len(c.constant)
	if c.mapped != nil && len(c.mapped.values) > 0 {
		size = len(c.mapped.values[0])
	}
	for _, l := range c.loads {
		size += l.key.Size
	}
	return size
}

func offsetOf(register uint32) int {
	if register >= unix.NFT_REG32_00 {
		return 4 * int(register-unix.NFT_REG32_00)
	}
	return 16 * int(register-unix.NFT_REG_1)
}

// put loads a register. What its bytes held before is gone.
func (r registers) put(register uint32, c content) {
	at := offsetOf(register)
	for offset := at; offset < at+min(max(c.size(), 1), registersSize); offset++ {
		delete(r, offset)
	}
	r[at] = c
}

func (r registers) get(register uint32) content { return r[offsetOf(register)] }

// loads returns the values in so many bytes, each with its offset. Every value begins in a
// register of 4 bytes, unless it was loaded with the one before.
func (r registers) loads(register uint32, length int) (loads []load, ok bool) {
	if length > registersSize {
		return nil, false
	}
	first := offsetOf(register)
	for at := first; at < first+length; {
		c, found := r[at]
		if !found || len(c.loads) == 0 {
			return nil, false
		}
		for _, l := range c.loads {
			l.offset = at - first
			loads = append(loads, l)
			at += l.key.Size
		}
		at = (at + 3) &^ 3
	}
	return loads, len(loads) > 0
}

// inOrder converts a value between the host's order and the network's.
func inOrder(b []byte, host bool) []byte {
	if !host || binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		return b
	}
	b = slices.Clone(b)
	slices.Reverse(b)
	return b
}
