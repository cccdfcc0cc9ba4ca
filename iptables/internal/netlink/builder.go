package netlink

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Builder appends attributes to a buffer.
type Builder struct {
	buf []byte
}

func align4(n int) int { return (n + 3) &^ 3 }

// message appends a message of the type kind to an nfnetlink subsystem. In nf_tables only
// the ends of a batch have a resource.
func (b *Builder) message(kind, flags uint16, sequence uint32, family byte, resource uint16, attributes func(*Builder)) {
	start := len(b.buf)
	b.buf = binary.NativeEndian.AppendUint32(b.buf, 0)
	b.buf = binary.NativeEndian.AppendUint16(b.buf, kind)
	b.buf = binary.NativeEndian.AppendUint16(b.buf, unix.NLM_F_REQUEST|flags)
	b.buf = binary.NativeEndian.AppendUint32(b.buf, sequence)
	b.buf = binary.NativeEndian.AppendUint32(b.buf, 0)
	b.buf = append(b.buf, family, unix.NFNETLINK_V0)
	b.buf = binary.BigEndian.AppendUint16(b.buf, resource)
	if attributes != nil {
		attributes(b)
	}
	binary.NativeEndian.PutUint32(b.buf[start:], uint32(len(b.buf)-start))
}

// Bytes returns the attributes.
func (b *Builder) Bytes() []byte { return b.buf }

// Nest appends an attribute with nested attributes.
func (b *Builder) Nest(kind uint16, attributes func()) {
	start := len(b.buf)
	b.attribute(kind|unix.NLA_F_NESTED, 0)
	attributes()
	binary.NativeEndian.PutUint16(b.buf[start:], uint16(len(b.buf)-start))
}

func (b *Builder) attribute(kind uint16, size int) {
	b.buf = binary.NativeEndian.AppendUint16(b.buf, uint16(attributeSize+size))
	b.buf = binary.NativeEndian.AppendUint16(b.buf, kind)
}

func (b *Builder) pad() {
	for len(b.buf) != align4(len(b.buf)) {
		b.buf = append(b.buf, 0)
	}
}

// PutBytes appends an attribute of the data's length.
func (b *Builder) PutBytes(kind uint16, data []byte) {
	b.attribute(kind, len(data))
	b.buf = append(b.buf, data...)
	b.pad()
}

// PutString appends a string with its NUL.
func (b *Builder) PutString(kind uint16, s string) {
	b.attribute(kind, len(s)+1)
	b.buf = append(append(b.buf, s...), 0)
	b.pad()
}

// PutUint32 appends a number in network order.
func (b *Builder) PutUint32(kind uint16, v uint32) {
	b.attribute(kind, 4)
	b.buf = binary.BigEndian.AppendUint32(b.buf, v)
}

// PutUint64 appends a number in network order.
func (b *Builder) PutUint64(kind uint16, v uint64) {
	b.attribute(kind, 8)
	b.buf = binary.BigEndian.AppendUint64(b.buf, v)
}
