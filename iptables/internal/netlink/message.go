package netlink

import (
	"encoding/binary"
	"iter"

	"golang.org/x/sys/unix"
)

// A netlink message is struct nlmsghdr (linux/netlink.h) and the header of its family, for
// netfilter struct nfgenmsg (linux/netfilter/nfnetlink.h), then attributes, struct nlattr,
// which may be nested. Headers are in host byte order, the values of nf_tables' integer
// attributes and nfgenmsg.res_id in network byte order (linux/netfilter/nf_tables.h), those
// of rtnetlink in host byte order.
const (
	headerSize    = unix.SizeofNlMsghdr
	nfgenmsgSize  = 4
	attributeSize = unix.SizeofNlAttr
	// attributeType masks NLA_F_NESTED and NLA_F_NET_BYTEORDER out of a type.
	attributeType = 1<<14 - 1
)

// Message is a message from the kernel. Its body starts after nlmsghdr, with the header of
// its family.
type Message struct {
	Kind     uint16 // the type, with that of the subsystem; see [NFTables]
	Sequence uint32 // of the request that it answers
	flags    uint16
	body     []byte
}

// Messages splits the result of one receive. A truncated message ends the sequence with
// errMalformed.
func Messages(b []byte) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for len(b) > 0 {
			if len(b) < headerSize {
				yield(Message{}, errMalformed)
				return
			}
			size := int(binary.NativeEndian.Uint32(b))
			if size < headerSize || size > len(b) {
				yield(Message{}, errMalformed)
				return
			}
			m := Message{
				Kind:     binary.NativeEndian.Uint16(b[4:]),
				flags:    binary.NativeEndian.Uint16(b[6:]),
				Sequence: binary.NativeEndian.Uint32(b[8:]),
				body:     b[headerSize:size],
			}
			if !yield(m, nil) {
				return
			}
			b = b[min(align4(size), len(b)):]
		}
	}
}

// Family returns nfgenmsg.nfgen_family.
func (m Message) Family() byte {
	if len(m.body) < nfgenmsgSize {
		return unix.NFPROTO_UNSPEC
	}
	return m.body[0]
}

// resource returns nfgenmsg.res_id.
func (m Message) resource() uint16 {
	if len(m.body) < nfgenmsgSize {
		return 0
	}
	return binary.BigEndian.Uint16(m.body[2:])
}

// Split returns a header of some size, and the attributes after it, for [Attributes]. It is
// not ok if the message is shorter.
func (m Message) Split(size int) (header, attributes []byte, ok bool) {
	if len(m.body) < size {
		return nil, nil, false
	}
	return m.body[:size], m.body[size:], true
}

// Attributes returns the attributes after nfgenmsg.
func (m Message) Attributes() iter.Seq2[uint16, []byte] {
	return Attributes(m.body[min(nfgenmsgSize, len(m.body)):])
}

// malformed is the type that Attributes gives to a malformed attribute, so that readers
// that accept only known types refuse it.
const malformed = 0xffff

// Attributes walks attributes by type and value.
func Attributes(b []byte) iter.Seq2[uint16, []byte] {
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

// ReadUint32 reads a number.
func ReadUint32(b []byte) uint32 {
	if len(b) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

// ReadNativeUint32 reads a number in host order.
func ReadNativeUint32(b []byte) uint32 {
	if len(b) != 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

// ReadUint64 reads a number.
func ReadUint64(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// ReadString reads a string up to its NUL.
func ReadString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
