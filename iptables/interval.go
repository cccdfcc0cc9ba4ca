package iptables

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"
)

// Interval is an inclusive range of values.
type Interval struct {
	First, Last Value
}

// Value is the value of a field as bytes in network order, so that comparing bytes
// compares values. All values of a field have the same length: 4 or 16 for addresses, 2
// for ports, 4 for ids and 16 (IFNAMSIZ) for interface names.
type Value string

// Next returns the value after v. It is not ok for the greatest value.
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
	b := p.Masked().Addr().AsSlice()
	i := only(Value(b))
	if p.IsSingleIP() {
		return i
	}
	for bit := p.Bits(); bit < 8*len(b); bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	i.Last = Value(b)
	return i
}

// only returns the interval of one value.
func only(v Value) Interval { return Interval{v, v} }

// PortInterval returns the ports of a range.
func PortInterval(r PortRange) Interval {
	i := only(Value(binary.BigEndian.AppendUint16(nil, r.First)))
	if r.First != r.Last {
		i.Last = Value(binary.BigEndian.AppendUint16(nil, r.Last))
	}
	return i
}

// IDInterval returns the ids from first to last.
func IDInterval(first, last uint32) Interval {
	return Interval{
		Value(binary.BigEndian.AppendUint32(nil, first)),
		Value(binary.BigEndian.AppendUint32(nil, last)),
	}
}

// InterfaceInterval returns the interface names that match a name, which may end in "+".
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

// touches reports whether j begins right after the end of i.
func (i Interval) touches(j Interval) bool { return i.Last.isBefore(j.First) }

// isBefore reports whether w is the value after v.
func (v Value) isBefore(w Value) bool {
	if len(v) != len(w) {
		return false
	}
	at := len(v) - 1
	for at >= 0 && v[at] == 0xff && w[at] == 0 {
		at--
	}
	return at >= 0 && v[at]+1 == w[at] && v[:at] == w[:at]
}

// Prefix returns an interval of addresses as a prefix, if it is one.
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

// Addresses returns the ends of an interval of addresses.
func (i Interval) Addresses() (first, last netip.Addr) {
	first, _ = netip.AddrFromSlice([]byte(i.First))
	last, _ = netip.AddrFromSlice([]byte(i.Last))
	return first, last
}

// Ports returns an interval of ports as a range.
func (i Interval) Ports() PortRange {
	return PortRange{binary.BigEndian.Uint16([]byte(i.First)), binary.BigEndian.Uint16([]byte(i.Last))}
}

// IDs returns an interval of user or group ids.
func (i Interval) IDs() (first, last uint32) {
	return binary.BigEndian.Uint32([]byte(i.First)), binary.BigEndian.Uint32([]byte(i.Last))
}

// Interface returns an interval of names as one name, which may end in "+", if it is one.
func (i Interval) Interface() (name string, ok bool) {
	name = strings.TrimRight(string(i.First), "\x00")
	if i != InterfaceInterval(name) {
		name += "+"
	}
	return name, i == InterfaceInterval(name)
}

// Interfaces splits an interval of names into one interval for each name, with or without
// "+", that it was joined from. An interval that is no union of names stays whole.
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

// Text returns the interval as the field's option takes it. An interval that the option
// cannot take is printed as "first-last".
func (i Interval) Text(f SetField) string {
	var b [len("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128")]byte
	return string(i.AppendText(b[:0], f))
}

// AppendText appends what Text returns.
func (i Interval) AppendText(b []byte, f SetField) []byte {
	switch f {
	case SourceAddress, DestinationAddress:
		if p, ok := i.Prefix(); ok {
			return p.AppendTo(b)
		}
		first, last := i.Addresses()
		return last.AppendTo(append(first.AppendTo(b), '-'))
	case InInterface, OutInterface:
		if name, ok := i.Interface(); ok {
			return append(b, name...)
		}
		return strconv.AppendQuote(append(strconv.AppendQuote(b, string(i.First)), '-'), string(i.Last))
	case SourcePort, DestinationPort:
		return i.Ports().appendText(b)
	default:
		first, last := i.IDs()
		b = strconv.AppendUint(b, uint64(first), 10)
		if first == last {
			return b
		}
		return strconv.AppendUint(append(b, '-'), uint64(last), 10)
	}
}
