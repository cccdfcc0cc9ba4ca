package compat

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
)

// The model has no types for most extensions of xtables. Their structs are told in the
// words of iptables-save, as the save functions in iptables' extensions/ print them, so
// that rules read alike whoever reads them.

// layout is a revision of an extension whose struct has words.
type layout struct {
	revision uint32
	// size is that of the struct without what the kernel keeps in it.
	size  int
	words func(*speech)
}

// speech makes words of a struct.
type speech struct {
	fields
	family   iptables.Family
	revision uint32
	words    []string
	// silent says that something in the struct has no words.
	silent bool
}

// wordsOf returns the arguments of an extension. It is not ok if it has no words.
func wordsOf(layouts map[string][]layout, f iptables.Family, x extension) (words []string, ok bool) {
	for _, l := range layouts[x.name] {
		if l.revision == x.revision && len(x.info) >= l.size {
			s := speech{fields: x.info, family: f, revision: x.revision}
			l.words(&s)
			return s.words, !s.silent
		}
	}
	return nil, false
}

func (s *speech) say(words ...string) { s.words = append(s.words, words...) }

// option says an option, negated or not.
func (s *speech) option(not bool, words ...string) {
	if not {
		s.say("!")
	}
	s.say(words...)
}

func (s *speech) sayIf(condition bool, words ...string) {
	if condition {
		s.say(words...)
	}
}

// text returns a string in so many bytes.
func (s *speech) text(offset, size int) string {
	if offset+size > len(s.fields) {
		return ""
	}
	return netlink.ReadString(s.fields[offset : offset+size])
}

// addressSize is the size of an address of the family, in 16 bytes for any.
func (s *speech) addressSize() int { return s.family.Unspecified().BitLen() / 8 }

func (s *speech) bytes(offset, size int) []byte {
	if offset+size > len(s.fields) {
		return make([]byte, size)
	}
	return s.fields[offset : offset+size]
}

func (s *speech) address(offset int) string {
	a, _ := netip.AddrFromSlice(s.bytes(offset, s.addressSize()))
	return a.String()
}

// maskBits returns the prefix length of a mask, or -1.
func (s *speech) maskBits(offset int) int {
	bits, ended := 0, false
	for _, b := range s.bytes(offset, s.addressSize()) {
		for bit := 7; bit >= 0; bit-- {
			switch set := b&(1<<bit) != 0; {
			case set && ended:
				return -1
			case set:
				bits++
			default:
				ended = true
			}
		}
	}
	return bits
}

// network returns an address and its mask.
func (s *speech) network(offset int) string {
	bits := s.maskBits(offset + 16)
	switch bits {
	case 8 * s.addressSize():
		return s.address(offset)
	case -1:
		return s.address(offset) + "/" + s.address(offset+16)
	}
	return s.address(offset) + "/" + strconv.Itoa(bits)
}

func decimal[T byte | uint16 | uint32 | uint64 | int](n T) string { return fmt.Sprint(n) }

// span returns one number or two with something between them.
func span[T byte | uint16 | uint32 | uint64](first, last T, between string) string {
	if first == last {
		return decimal(first)
	}
	return decimal(first) + between + decimal(last)
}

// bitWords joins the names of the bits that are set.
func bitWords(bits uint32, names ...string) string {
	var set []string
	for i, name := range names {
		if name != "" && bits&(1<<i) != 0 {
			set = append(set, name)
		}
	}
	return strings.Join(set, ",")
}
