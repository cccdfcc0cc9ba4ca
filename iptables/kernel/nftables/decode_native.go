package nftables

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"net/netip"

	"github.com/google/nftables/expr"
	"github.com/meshtables/meshtables/iptables"
)

// native reads one of the native forms that iptables-nft writes: interfaces,
// protocol and addresses always, ports since 1.8.8, marks since 1.8.9. Each is
// a load and a comparison; a field that is taken already stays as it is, and
// the second condition on it becomes an unknown match.
func (d *ruleDecoder) native() bool {
	if key, register, ok := d.rest[0].meta(); ok {
		return d.meta(key, register)
	}
	if p, ok := d.rest[0].payload(); ok {
		return d.payload(p)
	}
	return false
}

// comparison is what follows a load: an optional mask and "cmp".
type comparison struct {
	mask, data []byte
	not        bool
	length     int // in expressions, the load included
}

func (d *ruleDecoder) comparison(register uint32) (c comparison, ok bool) {
	c.length = 1
	if len(d.rest) > c.length {
		if mask, to, ok := d.rest[c.length].mask(register); ok {
			c.mask, register = mask, to
			c.length++
		}
	}
	if len(d.rest) <= c.length {
		return c, false
	}
	c.data, c.not, ok = d.rest[c.length].compare(register)
	c.length++
	return c, ok && (c.mask == nil || len(c.mask) == len(c.data))
}

func (d *ruleDecoder) meta(key expr.MetaKey, register uint32) bool {
	c, compared := d.comparison(register)
	switch key {
	case expr.MetaKeyIIFNAME:
		return d.iface(&d.rule.In, c, compared)
	case expr.MetaKeyOIFNAME:
		return d.iface(&d.rule.Out, c, compared)
	case expr.MetaKeyL4PROTO:
		if !compared || c.mask != nil || len(c.data) != 1 || d.rule.Protocol != (iptables.ProtocolMatch{}) {
			return false
		}
		d.rule.Protocol = iptables.ProtocolMatch{Protocol: protocolName(c.data[0]), Not: c.not}
		return d.take(c.length)
	case expr.MetaKeyMARK:
		if !compared || len(c.data) != 4 {
			return false
		}
		m := iptables.Mark{Value: binary.NativeEndian.Uint32(c.data), Mask: iptables.FullMask, Not: c.not}
		if c.mask != nil {
			m.Mask = binary.NativeEndian.Uint32(c.mask)
		}
		d.addMatch(m)
		return d.take(c.length)
	}
	return false
}

func (d *ruleDecoder) iface(i *iptables.Interface, c comparison, compared bool) bool {
	if !compared {
		// "-i +" is a load without a comparison in iptables 1.8.9.
		return d.loadWithoutUse() && d.take(1)
	}
	name, ok := interfaceName(c)
	if !ok || *i != (iptables.Interface{}) {
		return false
	}
	*i = name
	return d.take(c.length)
}

// loadWithoutUse reports whether the first expression only loads a register
// that the next one loads again, or that nothing uses.
func (d *ruleDecoder) loadWithoutUse() bool {
	if len(d.rest) == 1 {
		return true
	}
	_, _, isMeta := d.rest[1].meta()
	_, isPayload := d.rest[1].payload()
	switch d.rest[1].name {
	case "counter", "match", "target", "immediate":
		return true
	}
	return isMeta || isPayload
}

// interfaceName reads a name up to its NUL. Without NUL it is the beginning of
// a name.
func interfaceName(c comparison) (i iptables.Interface, ok bool) {
	end := bytes.IndexByte(c.data, 0)
	switch {
	case c.mask != nil || len(c.data) == 0 || end == 0:
		return i, false
	case end < 0:
		return iptables.Interface{Name: string(c.data) + "+", Not: c.not}, true
	case len(bytes.Trim(c.data[end:], "\x00")) > 0:
		return i, false
	}
	name := string(c.data[:end])
	if name == impossibleInterface && !c.not {
		return iptables.Interface{Name: "+", Not: true}, true
	}
	// A "+" at the end of a real name cannot be told from a wildcard in
	// iptables' own words.
	return iptables.Interface{Name: name, Not: c.not}, name[len(name)-1] != '+'
}

func (d *ruleDecoder) payload(p expr.Payload) bool {
	switch p.Base {
	case expr.PayloadBaseNetworkHeader:
		c, ok := d.comparison(p.DestRegister)
		return ok && len(c.data) == int(p.Len) && d.address(p.Offset, c)
	case expr.PayloadBaseTransportHeader:
		return d.ports(p)
	}
	return false
}

func (d *ruleDecoder) address(offset uint32, c comparison) bool {
	a := &d.rule.Source
	f := sourceOf(d.family)
	if offset != f.offset {
		a = &d.rule.Destination
		f = destinationOf(d.family)
	}
	if offset != f.offset || len(c.data) > f.size || *a != (iptables.Address{}) {
		return false
	}
	length := 8 * len(c.data)
	if c.mask != nil {
		if length = maskLength(c.mask); length <= 0 {
			return false
		}
	}
	whole := make([]byte, f.size)
	copy(whole, c.data)
	addr, ok := netip.AddrFromSlice(whole)
	prefix := netip.PrefixFrom(addr, length)
	if !ok || prefix != prefix.Masked() {
		// Bits beyond the mask: no packet meets that.
		return false
	}
	*a = iptables.Address{Prefix: prefix, Not: c.not}
	return d.take(c.length)
}

// maskLength returns the length of the prefix that a mask is, or -1.
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

// ports reads a comparison with one port or a range of them, or with one port of
// either side at once. They are ports only where the rule is about a protocol
// that has them at this place.
func (d *ruleDecoder) ports(p expr.Payload) bool {
	protocol := d.rule.Protocol.Protocol
	if d.rule.Protocol.Not || protocol != iptables.TCP && protocol != iptables.UDP || len(d.rest) < 2 {
		return false
	}
	first, not, ok := d.rest[1].compare(p.DestRegister)
	last := first
	if !ok {
		first, last, not, ok = d.rest[1].between(p.DestRegister)
	}
	if !ok || len(first) != int(p.Len) || len(last) != len(first) {
		return false
	}
	match := func(i int) iptables.PortMatch {
		r := iptables.PortRange{First: binary.BigEndian.Uint16(first[i:]), Last: binary.BigEndian.Uint16(last[i:])}
		return iptables.PortMatch{Range: r, Not: not, Set: true}
	}
	switch {
	case p.Offset == 0 && p.Len == 2:
		d.addMatch(iptables.Ports{Protocol: protocol, Source: match(0)})
	case p.Offset == 2 && p.Len == 2:
		d.destinationPort(protocol, match(0))
	case p.Offset == 0 && p.Len == 4 && !not && bytes.Equal(first, last):
		// iptables 1.8.9 writes "! --sport A ! --dport B" in this way too,
		// as "not both", which is not what it says. It stays unknown.
		d.addMatch(iptables.Ports{Protocol: protocol, Source: match(0), Destination: match(2)})
	default:
		return false
	}
	return d.take(2)
}

// destinationPort joins the match to the one on the source port before it, as
// both are options of one "-m tcp".
func (d *ruleDecoder) destinationPort(protocol iptables.Protocol, match iptables.PortMatch) {
	if last := len(d.rule.Matches) - 1; last >= 0 {
		m, ok := d.rule.Matches[last].(iptables.Ports)
		if ok && m.Source.Set && !m.Destination.Set {
			m.Destination = match
			d.rule.Matches[last] = m
			return
		}
	}
	d.addMatch(iptables.Ports{Protocol: protocol, Destination: match})
}
