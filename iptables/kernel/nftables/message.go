package nftables

import (
	"encoding/binary"
	"errors"
	"iter"

	"golang.org/x/sys/unix"
)

// A netlink message is struct nlmsghdr (linux/netlink.h) and struct nfgenmsg
// (linux/netfilter/nfnetlink.h), then attributes, struct nlattr, nested as the
// message asks for. Headers are in the byte order of the host, the values of
// nf_tables' integer attributes and nfgenmsg.res_id in that of the network
// (linux/netfilter/nf_tables.h).
const (
	headerSize    = unix.SizeofNlMsghdr
	nfgenmsgSize  = 4
	attributeSize = unix.SizeofNlAttr
	// attributeType masks NLA_F_NESTED and NLA_F_NET_BYTEORDER out of a type.
	attributeType = 1<<14 - 1
)

// builder appends messages to a buffer. Attributes and messages are opened and
// closed; closing fills in the length.
type builder struct {
	buf []byte
}

func align4(n int) int { return (n + 3) &^ 3 }

// open starts a message to the nfnetlink subsystem. Only batch messages have a
// resource.
func (b *builder) open(kind, flags uint16, sequence uint32, family byte, resource uint16) (start int) {
	start = len(b.buf)
	b.buf = binary.NativeEndian.AppendUint32(b.buf, 0)
	b.buf = binary.NativeEndian.AppendUint16(b.buf, kind)
	b.buf = binary.NativeEndian.AppendUint16(b.buf, unix.NLM_F_REQUEST|flags)
	b.buf = binary.NativeEndian.AppendUint32(b.buf, sequence)
	b.buf = binary.NativeEndian.AppendUint32(b.buf, 0)
	b.buf = append(b.buf, family, unix.NFNETLINK_V0)
	b.buf = binary.BigEndian.AppendUint16(b.buf, resource)
	return start
}

func (b *builder) close(start int) {
	binary.NativeEndian.PutUint32(b.buf[start:], uint32(len(b.buf)-start))
}

// nest starts an attribute that holds attributes.
func (b *builder) nest(kind uint16) (start int) {
	start = len(b.buf)
	b.buf = binary.NativeEndian.AppendUint16(b.buf, 0)
	b.buf = binary.NativeEndian.AppendUint16(b.buf, kind|unix.NLA_F_NESTED)
	return start
}

func (b *builder) unnest(start int) {
	binary.NativeEndian.PutUint16(b.buf[start:], uint16(len(b.buf)-start))
}

func (b *builder) attribute(kind uint16, size int) {
	b.buf = binary.NativeEndian.AppendUint16(b.buf, uint16(attributeSize+size))
	b.buf = binary.NativeEndian.AppendUint16(b.buf, kind)
}

func (b *builder) pad() {
	for len(b.buf) != align4(len(b.buf)) {
		b.buf = append(b.buf, 0)
	}
}

func (b *builder) bytes(kind uint16, data []byte) {
	b.attribute(kind, len(data))
	b.buf = append(b.buf, data...)
	b.pad()
}

func (b *builder) string(kind uint16, s string) {
	b.attribute(kind, len(s)+1)
	b.buf = append(append(b.buf, s...), 0)
	b.pad()
}

func (b *builder) uint32(kind uint16, v uint32) {
	b.attribute(kind, 4)
	b.buf = binary.BigEndian.AppendUint32(b.buf, v)
}

func (b *builder) uint64(kind uint16, v uint64) {
	b.attribute(kind, 8)
	b.buf = binary.BigEndian.AppendUint64(b.buf, v)
}

// message is one that the kernel sent. Body starts after nlmsghdr, and for
// nf_tables with nfgenmsg.
type message struct {
	kind, flags uint16
	sequence    uint32
	body        []byte
}

var errMalformed = errors.New("the kernel's answer is malformed")

// messages splits what one receive returned. A message cut short ends the
// sequence with errMalformed.
func messages(b []byte) iter.Seq2[message, error] {
	return func(yield func(message, error) bool) {
		for len(b) > 0 {
			if len(b) < headerSize {
				yield(message{}, errMalformed)
				return
			}
			size := int(binary.NativeEndian.Uint32(b))
			if size < headerSize || size > len(b) {
				yield(message{}, errMalformed)
				return
			}
			m := message{
				kind:     binary.NativeEndian.Uint16(b[4:]),
				flags:    binary.NativeEndian.Uint16(b[6:]),
				sequence: binary.NativeEndian.Uint32(b[8:]),
				body:     b[headerSize:size],
			}
			if !yield(m, nil) {
				return
			}
			b = b[min(align4(size), len(b)):]
		}
	}
}

// family returns nfgenmsg.nfgen_family.
func (m message) family() byte {
	if len(m.body) < nfgenmsgSize {
		return unix.NFPROTO_UNSPEC
	}
	return m.body[0]
}

// attributes returns those after nfgenmsg.
func (m message) attributes() iter.Seq2[uint16, []byte] {
	if len(m.body) < nfgenmsgSize {
		return attributes(nil)
	}
	return attributes(m.body[nfgenmsgSize:])
}

// malformed is the type that attributes gives to what is not an attribute, so
// that a reader which accepts known types only refuses it too.
const malformed = 0xffff

// attributes walks attributes by type and value.
func attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) > 0 {
			if len(b) < attributeSize {
				yield(malformed, b)
				return
			}
			size := int(binary.NativeEndian.Uint16(b))
			if size < attributeSize || size > len(b) {
				yield(malformed, b)
				return
			}
			if !yield(binary.NativeEndian.Uint16(b[2:])&attributeType, b[attributeSize:size]) {
				return
			}
			b = b[min(align4(size), len(b)):]
		}
	}
}

// The readers of values return zero for a value of the wrong size.

func readUint32(b []byte) uint32 {
	if len(b) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

func readUint64(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// readString reads a string up to its NUL.
func readString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
