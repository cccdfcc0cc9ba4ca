package compat

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/meshtables/meshtables/iptables"
)

// extension is an xtables match or target for nft_compat: a name, a revision and the
// struct of that revision, in host byte order unless the struct says otherwise.
type extension struct {
	name     string
	revision uint32
	info     []byte
}

// xtAlign is what XT_ALIGN rounds sizes up to (linux/netfilter/x_tables.h):
// the alignment of __u64, which is 8 but on 32-bit x86. The kernel refuses
// structs of any other size.
const xtAlign = 8

func newExtension(name string, revision uint32, info structure) extension {
	for len(info)%xtAlign != 0 {
		info = append(info, 0)
	}
	return extension{name, revision, info}
}

// structure appends the fields of a C struct.
type structure []byte

func (s structure) u8(values ...byte) structure { return append(s, values...) }

func (s structure) u16(values ...uint16) structure {
	for _, v := range values {
		s = binary.NativeEndian.AppendUint16(s, v)
	}
	return s
}

func (s structure) u32(values ...uint32) structure {
	for _, v := range values {
		s = binary.NativeEndian.AppendUint32(s, v)
	}
	return s
}

func (s structure) be16(values ...uint16) structure {
	for _, v := range values {
		s = binary.BigEndian.AppendUint16(s, v)
	}
	return s
}

func (s structure) zeros(n int) structure { return append(s, make([]byte, n)...) }

// fields reads the fields of a C struct. Fields beyond its end read as zero; decoding
// compares the whole struct afterwards.
type fields []byte

func (f fields) u8(offset int) byte {
	if offset+1 > len(f) {
		return 0
	}
	return f[offset]
}

func (f fields) u16(offset int) uint16 {
	if offset+2 > len(f) {
		return 0
	}
	return binary.NativeEndian.Uint16(f[offset:])
}

func (f fields) u32(offset int) uint32 {
	if offset+4 > len(f) {
		return 0
	}
	return binary.NativeEndian.Uint32(f[offset:])
}

func (f fields) u64(offset int) uint64 {
	if offset+8 > len(f) {
		return 0
	}
	return binary.NativeEndian.Uint64(f[offset:])
}

func (f fields) be16(offset int) uint16 {
	if offset+2 > len(f) {
		return 0
	}
	return binary.BigEndian.Uint16(f[offset:])
}

func (e extension) is(name string, revision uint32) bool {
	return e.name == name && e.revision == revision
}

// decodeMatch reads a match. It is ok only if encoding the result gives the same struct,
// so that no unknown option is overlooked.
func decodeMatch(e extension) (m iptables.Match, ok bool) {
	f := fields(e.info)
	switch {
	case e.is("tcp", 0), e.is("udp", 0):
		m = decodePorts(iptables.Protocol(e.name), f)
	case e.is("multiport", 1):
		m = decodeMultiport(f)
	case e.is("owner", 1):
		m = decodeOwner(f)
	case e.is("set", 4):
		m = decodeNamedSet(f)
	case e.is("conntrack", 3):
		m = decodeConntrack(f)
	case e.is("mark", 1):
		m = iptables.Mark{Value: f.u32(0), Mask: f.u32(4), Not: f.u8(8) != 0}
	case e.is("comment", 0):
		m = decodeComment(e.info)
	case e.is("connmark", 1):
		m = iptables.Connmark{Value: f.u32(0), Mask: f.u32(4), Not: f.u8(8) != 0}
	default:
		return nil, false
	}
	again, err := encodeMatch(m)
	return m, err == nil && bytes.Equal(again.info, e.info)
}

// encodeMatch returns the match as the current iptables writes it with xt matches only.
func encodeMatch(m iptables.Match) (extension, error) {
	switch m := m.(type) {
	case iptables.Ports:
		return encodePorts(m)
	case iptables.Multiport:
		return encodeMultiport(m)
	case iptables.Owner:
		return encodeOwner(m), nil
	case iptables.NamedSet:
		return encodeNamedSet(m), nil
	case iptables.Conntrack:
		return encodeConntrack(m), nil
	case iptables.Mark:
		return encodeMark("mark", m.Value, m.Mask, m.Not), nil
	case iptables.Connmark:
		return encodeMark("connmark", m.Value, m.Mask, m.Not), nil
	case iptables.Comment:
		return encodeComment(m)
	case iptables.UnknownMatch:
		return keptExtension(m.Name, m.Kept)
	default:
		return extension{}, fmt.Errorf("the match %T cannot be written", m)
	}
}

// decodeTarget reads a target as decodeMatch reads a match.
func decodeTarget(family iptables.Family, e extension) (t iptables.Target, ok bool) {
	f := fields(e.info)
	switch {
	case e.is("REDIRECT", 0):
		t = decodeRedirect(family, f)
	case e.is("TPROXY", 1):
		t = decodeTProxy(family, f)
	case e.is("MARK", 2):
		t = iptables.SetMark{Value: f.u32(0), Mask: f.u32(4)}
	case e.is("CONNMARK", 1), e.is("CONNMARK", 2):
		t = decodeConnmark(e.revision, f)
	case e.is("SNAT", snatRevision(family)):
		t = decodeSNAT(family, f)
	case e.is("CT", 1), e.is("CT", 2):
		t = iptables.CTZone{Zone: f.u16(2)}
	}
	if t == nil {
		return nil, false
	}
	again, err := encodeTarget(family, t)
	if err != nil {
		return nil, false
	}
	if e.is("CONNMARK", 1) {
		again = encodeConnmark(1, t)
	}
	return t, bytes.Equal(again.info, e.info)
}

// encodeTarget returns the target as the current iptables writes it. Verdicts and jumps
// are not extensions.
func encodeTarget(family iptables.Family, t iptables.Target) (extension, error) {
	switch t := t.(type) {
	case iptables.Redirect:
		return encodeRedirect(family, t), nil
	case iptables.TProxy:
		return encodeTProxy(family, t)
	case iptables.SetMark:
		// struct xt_mark_tginfo2, linux/netfilter/xt_mark.h
		return newExtension("MARK", 2, structure{}.u32(t.Value, t.Mask)), nil
	case iptables.SetConnmark, iptables.SaveMark, iptables.RestoreMark:
		return encodeConnmark(2, t), nil
	case iptables.SNAT:
		return encodeSNAT(family, t)
	case iptables.CTZone:
		return encodeCTZone(t), nil
	case iptables.UnknownTarget:
		return keptExtension(t.Name, t.Kept)
	default:
		return extension{}, fmt.Errorf("the target %T cannot be written", t)
	}
}
