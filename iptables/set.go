package iptables

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Set is a match of one field of a packet with any of a list of values: what
// nf_tables finds with one lookup, however long the list. iptables has no such
// match, so a ruleset with sets is one of the native form only, and the text of
// a set, such as "--dport {80,443,8000:8010}", is for people.
type Set struct {
	Field SetField
	Not   bool
	// Elements are in order and do not overlap, nor touch unless they are of
	// interfaces; see [NewSet].
	Elements []Interval
}

// SetField is what a [Set] looks at, by the option that iptables has for one
// value of it.
type SetField string

// The fields that can be looked up in a set. Those of ports need a rule that
// matches the protocol too.
const (
	SourceAddress      SetField = "-s"
	DestinationAddress SetField = "-d"
	InInterface        SetField = "-i"
	OutInterface       SetField = "-o"
	SourcePort         SetField = "--sport"
	DestinationPort    SetField = "--dport"
	OwnerUID           SetField = "--uid-owner"
	OwnerGID           SetField = "--gid-owner"
)

// SetFields returns all fields that can be looked up in a set.
func SetFields() []SetField {
	return []SetField{
		SourceAddress, DestinationAddress, InInterface, OutInterface,
		SourcePort, DestinationPort, OwnerUID, OwnerGID,
	}
}

// Address returns where the rule itself has the field, if that is an address; else
// nil.
func (r *Rule) Address(f SetField) *Address {
	switch f {
	case SourceAddress:
		return &r.Source
	case DestinationAddress:
		return &r.Destination
	}
	return nil
}

// Interface returns where the rule itself has the field, if that is an interface;
// else nil.
func (r *Rule) Interface(f SetField) *Interface {
	switch f {
	case InInterface:
		return &r.In
	case OutInterface:
		return &r.Out
	}
	return nil
}

// Interval is an inclusive range of values.
type Interval struct {
	First, Last Value
}

// Value is the value of a field as bytes in the order of the network, so that
// values are ordered as their bytes are. Those of one field have one length: 4 or
// 16 for addresses, 2 for ports, 4 for ids and 16 (IFNAMSIZ) for interface names.
type Value string

// Next returns the value after v; there is none after the greatest.
func (v Value) Next() (next Value, ok bool) {
	b := []byte(v)
	for i := len(b) - 1; i >= 0; i-- {
		b[i]++
		if b[i] != 0 {
			return Value(b), true
		}
	}
	return "", false
}

// interfaceNameSize is IFNAMSIZ (linux/if.h).
const interfaceNameSize = MaxInterfaceName + 1

// PrefixInterval returns the addresses of a prefix.
func PrefixInterval(p netip.Prefix) Interval {
	first := p.Masked().Addr().AsSlice()
	last := slices.Clone(first)
	for bit := p.Bits(); bit < 8*len(last); bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	return Interval{Value(first), Value(last)}
}

// PortInterval returns the ports of a range.
func PortInterval(r PortRange) Interval {
	return Interval{
		Value(binary.BigEndian.AppendUint16(nil, r.First)),
		Value(binary.BigEndian.AppendUint16(nil, r.Last)),
	}
}

// IDInterval returns the ids from first to last.
func IDInterval(first, last uint32) Interval {
	return Interval{
		Value(binary.BigEndian.AppendUint32(nil, first)),
		Value(binary.BigEndian.AppendUint32(nil, last)),
	}
}

// InterfaceInterval returns the names that an interface's name, which may end in
// "+", stands for.
func InterfaceInterval(name string) Interval {
	first := make([]byte, interfaceNameSize)
	last := make([]byte, interfaceNameSize)
	prefix, wildcard := strings.CutSuffix(name, "+")
	copy(first, prefix)
	copy(last, prefix)
	if wildcard {
		for i := len(prefix); i < len(last); i++ {
			last[i] = 0xff
		}
	}
	return Interval{Value(first), Value(last)}
}

// Contains reports whether a value lies in the interval.
func (i Interval) Contains(v Value) bool { return i.First <= v && v <= i.Last }

// touches reports whether the first value of j is the one after the last of i.
func (i Interval) touches(j Interval) bool {
	after, ok := i.Last.Next()
	return ok && j.First == after
}

// Prefix returns the prefix that an interval of addresses is, if it is one.
func (i Interval) Prefix() (p netip.Prefix, ok bool) {
	first, ok := netip.AddrFromSlice([]byte(i.First))
	if !ok || len(i.Last) != len(i.First) {
		return p, false
	}
	p = netip.PrefixFrom(first, commonBits(i.First, i.Last))
	return p, p == p.Masked() && endsInOnes(i.Last, p.Bits())
}

// commonBits returns the number of leading bits that values of one length share.
func commonBits(a, b Value) int {
	for n := range len(a) {
		if differ := a[n] ^ b[n]; differ != 0 {
			return 8*n + bits.LeadingZeros8(differ)
		}
	}
	return 8 * len(a)
}

// endsInOnes reports whether all bits of a value but the first n are set.
func endsInOnes(v Value, n int) bool {
	for at := 8 * len(v); at > n; at -= 8 {
		ones := byte(0xff)
		if left := at - n; left < 8 {
			ones >>= 8 - left
		}
		if v[at/8-1]&ones != ones {
			return false
		}
	}
	return true
}

// Ports returns an interval of ports as a range.
func (i Interval) Ports() PortRange {
	return PortRange{binary.BigEndian.Uint16([]byte(i.First)), binary.BigEndian.Uint16([]byte(i.Last))}
}

// IDs returns an interval of user or group ids.
func (i Interval) IDs() (first, last uint32) {
	return binary.BigEndian.Uint32([]byte(i.First)), binary.BigEndian.Uint32([]byte(i.Last))
}

// Interface returns the name that an interval of names stands for, if it is one.
func (i Interval) Interface() (name string, ok bool) {
	name = strings.TrimRight(string(i.First), "\x00")
	if i != InterfaceInterval(name) {
		name += "+"
	}
	return name, i == InterfaceInterval(name)
}

// Interfaces returns an interval of names as those of the names, with and without "+",
// that make it up: more than one where they touch. What no names make up stays whole.
func (i Interval) Interfaces() []Interval {
	var all []Interval
	for rest := i; ; {
		// The longest one that begins here: either it ends in time, or the name
		// stands for itself only.
		name := strings.TrimRight(string(rest.First), "\x00")
		next := InterfaceInterval(name + "+")
		if next.Last > rest.Last {
			next = InterfaceInterval(name)
		}
		if strings.Contains(name, "\x00") || next.Last > rest.Last {
			return []Interval{i}
		}
		all = append(all, next)
		if next.Last == rest.Last {
			return all
		}
		rest.First, _ = next.Last.Next()
	}
}

// Text returns an interval of values of a field as the field's option takes it, or
// where none can, its first and last value with "-" between.
func (i Interval) Text(f SetField) string {
	switch f {
	case SourceAddress, DestinationAddress:
		if p, ok := i.Prefix(); ok {
			return p.String()
		}
		first, _ := netip.AddrFromSlice([]byte(i.First))
		last, _ := netip.AddrFromSlice([]byte(i.Last))
		return first.String() + "-" + last.String()
	case InInterface, OutInterface:
		if name, ok := i.Interface(); ok {
			return name
		}
		return strconv.Quote(string(i.First)) + "-" + strconv.Quote(string(i.Last))
	case SourcePort, DestinationPort:
		return i.Ports().String()
	default:
		first, last := i.IDs()
		if first == last {
			return strconv.FormatUint(uint64(first), 10)
		}
		return strconv.FormatUint(uint64(first), 10) + "-" + strconv.FormatUint(uint64(last), 10)
	}
}

// NewSet returns the set of all values in the intervals, which may overlap and
// come in any order. It joins those that overlap or touch; of names of interfaces
// only the former, as what "veth0+" and "veth1+" stand for touches, and nft has no
// words for both in one.
func NewSet(field SetField, not bool, intervals []Interval) Set {
	names := field == InInterface || field == OutInterface
	return Set{Field: field, Not: not, Elements: union(intervals, !names)}
}

// union sorts intervals and makes one of those that overlap, and with touching of
// those that touch.
func union(intervals []Interval, touching bool) []Interval {
	sorted := slices.SortedFunc(slices.Values(intervals), func(a, b Interval) int {
		return strings.Compare(string(a.First), string(b.First))
	})
	merged := sorted[:0]
	for _, i := range sorted {
		if n := len(merged) - 1; n >= 0 && (i.First <= merged[n].Last || touching && merged[n].touches(i)) {
			merged[n].Last = max(merged[n].Last, i.Last)
			continue
		}
		merged = append(merged, i)
	}
	return slices.Clip(merged)
}

// Contains reports whether a value is one of the set's elements, Not aside.
func (s Set) Contains(v Value) bool {
	n, found := slices.BinarySearchFunc(s.Elements, v, func(i Interval, v Value) int {
		return strings.Compare(string(i.First), string(v))
	})
	return found || n > 0 && s.Elements[n-1].Contains(v)
}

func (s Set) appendSave(words []string) []string {
	values := make([]string, len(s.Elements))
	for i, e := range s.Elements {
		values[i] = e.Text(s.Field)
	}
	return append(appendNot(words, s.Not), string(s.Field), "{"+strings.Join(values, ",")+"}")
}
