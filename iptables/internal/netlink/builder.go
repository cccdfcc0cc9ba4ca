package netlink

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"
)

// Builder appends attributes to a buffer.
type Builder struct {
	buf []byte
}

// messageRoom is enough for most messages.
const messageRoom = 512

func align4(n int) int { return (n + 3) &^ 3 }

// message appends a request.
func (b *Builder) message(r Request, sequence uint32) {
	if cap(b.buf)-len(b.buf) < messageRoom {
		// append would grow megabytes by a quarter at a time.
		b.buf = slices.Grow(b.buf, max(len(b.buf), messageRoom))
	}
	start := len(b.buf)
	b.buf = binary.NativeEndian.AppendUint32(b.buf, 0)
	b.buf = binary.NativeEndian.AppendUint16(b.buf, r.Kind)
	b.buf = binary.NativeEndian.AppendUint16(b.buf, unix.NLM_F_REQUEST|r.Flags)
	b.buf = binary.NativeEndian.AppendUint32(b.buf, sequence)
	b.buf = binary.NativeEndian.AppendUint32(b.buf, 0)
	if r.Header != nil {
		b.buf = append(b.buf, r.Header...)
	} else {
		b.buf = append(b.buf, r.Family, unix.NFNETLINK_V0)
		b.buf = binary.BigEndian.AppendUint16(b.buf, r.Resource)
	}
	if r.Attributes != nil {
		r.Attributes(b)
	}
	binary.NativeEndian.PutUint32(b.buf[start:], uint32(len(b.buf)-start))
}

// Reset removes the attributes and keeps the memory.
func (b *Builder) Reset() { b.buf = b.buf[:0] }

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

// Append appends what is no attribute: the header of a nested message.
func (b *Builder) Append(header []byte) { b.buf = append(b.buf, header...) }

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

// PutNativeUint32 appends a number in host order.
func (b *Builder) PutNativeUint32(kind uint16, v uint32) {
	b.attribute(kind, 4)
	b.buf = binary.NativeEndian.AppendUint32(b.buf, v)
}

// PutUint64 appends a number in network order.
func (b *Builder) PutUint64(kind uint16, v uint64) {
	b.attribute(kind, 8)
	b.buf = binary.BigEndian.AppendUint64(b.buf, v)
}
