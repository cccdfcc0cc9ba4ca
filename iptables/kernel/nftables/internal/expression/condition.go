package expression

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
	"golang.org/x/sys/unix"
)

// Condition reads one of the native conditions that iptables-nft writes: interfaces,
// protocol and addresses always, ports since 1.8.8, marks since 1.8.9. Each is a load and
// a comparison. A second condition on a field becomes an unknown match.
func (d *Decoder) Condition() bool {
	if key, register, ok := d.Rest[0].Meta(); ok {
		return d.meta(key, register)
	}
	if p, ok := d.Rest[0].Payload(); ok {
		return d.payload(p)
	}
	return false
}

func (d *Decoder) meta(key MetaKey, register uint32) bool {
	c, compared := d.Comparison(register)
	switch key {
	case unix.NFT_META_IIFNAME:
		return d.iface(&d.Rule.In, c, compared)
	case unix.NFT_META_OIFNAME:
		return d.iface(&d.Rule.Out, c, compared)
	case unix.NFT_META_L4PROTO:
		if !compared || c.Mask != nil || len(c.Data) != 1 || d.Rule.Protocol != (iptables.ProtocolMatch{}) {
			return false
		}
		d.Rule.Protocol = iptables.ProtocolMatch{Protocol: iptables.ProtocolOf(c.Data[0]), Not: c.Not}
		return d.Take(c.Length)
	case unix.NFT_META_MARK:
		if !compared || len(c.Data) != 4 {
			return false
		}
		m := iptables.Mark{Value: binary.NativeEndian.Uint32(c.Data), Mask: iptables.FullMask, Not: c.Not}
		if c.Mask != nil {
			m.Mask = binary.NativeEndian.Uint32(c.Mask)
		}
		d.AddMatch(m)
		return d.Take(c.Length)
	}
	return false
}

func (d *Decoder) iface(i *iptables.Interface, c Comparison, compared bool) bool {
	if !compared {
		// "-i +" is a load without a comparison in iptables 1.8.9.
		return d.loadWithoutUse() && d.Take(1)
	}
	name, ok := interfaceName(c)
	if !ok || *i != (iptables.Interface{}) {
		return false
	}
	*i = name
	return d.Take(c.Length)
}

// loadWithoutUse reports whether the first expression only loads a register
// that the next one loads again, or that nothing uses.
func (d *Decoder) loadWithoutUse() bool {
	if len(d.Rest) == 1 {
		return true
	}
	_, _, isMeta := d.Rest[1].Meta()
	_, isPayload := d.Rest[1].Payload()
	switch d.Rest[1].Name {
	case "counter", "match", "target", "immediate":
		return true
	}
	return isMeta || isPayload
}

// interfaceName reads a name up to its NUL. Without NUL it is the beginning of
// a name.
func interfaceName(c Comparison) (i iptables.Interface, ok bool) {
	end := bytes.IndexByte(c.Data, 0)
	switch {
	case c.Mask != nil || len(c.Data) == 0 || end == 0:
		return i, false
	case end < 0:
		return iptables.Interface{Name: string(c.Data) + "+", Not: c.Not}, true
	case len(bytes.Trim(c.Data[end:], "\x00")) > 0:
		return i, false
	}
	name := string(c.Data[:end])
	if name == impossibleInterface && !c.Not {
		return iptables.Interface{Name: "+", Not: true}, true
	}
	// In iptables' words, a "+" at the end of a real name looks like a wildcard.
	return iptables.Interface{Name: name, Not: c.Not}, name[len(name)-1] != '+'
}

func (d *Decoder) payload(p Payload) bool {
	switch p.Base {
	case unix.NFT_PAYLOAD_NETWORK_HEADER:
		c, ok := d.Comparison(p.DestRegister)
		return ok && len(c.Data) == int(p.Len) && d.address(p.Offset, c)
	case unix.NFT_PAYLOAD_TRANSPORT_HEADER:
		return d.ports(p)
	}
	return false
}

func (d *Decoder) address(offset uint32, c Comparison) bool {
	a := &d.Rule.Source
	f := SourceOf(d.Family)
	if offset != f.Offset {
		a = &d.Rule.Destination
		f = DestinationOf(d.Family)
	}
	if offset != f.Offset || len(c.Data) > f.Size || *a != (iptables.Address{}) {
		return false
	}
	length := 8 * len(c.Data)
	if c.Mask != nil {
		if length = maskLength(c.Mask); length <= 0 {
			return false
		}
	}
	whole := make([]byte, f.Size)
	copy(whole, c.Data)
	addr, ok := netip.AddrFromSlice(whole)
	prefix := netip.PrefixFrom(addr, length)
	if !ok || prefix != prefix.Masked() {
		// Bits beyond the mask: no packet matches that.
		return false
	}
	*a = iptables.Address{Prefix: prefix, Not: c.Not}
	return d.Take(c.Length)
}

// ports reads a comparison with one port or a range of them, or with one port of either
// side at once. They are ports only if the rule matches a protocol that has them at this
// place.
func (d *Decoder) ports(p Payload) bool {
	protocol := d.Rule.Protocol.Protocol
	if d.Rule.Protocol.Not || protocol != iptables.TCP && protocol != iptables.UDP || len(d.Rest) < 2 {
		return false
	}
	first, not, ok := d.Rest[1].Compare(p.DestRegister)
	last, length := first, 2
	if !ok {
		first, last, not, length = d.Between(1, p.DestRegister)
	}
	if length == 0 || len(first) != int(p.Len) {
		return false
	}
	match := func(i int) iptables.PortMatch {
		r := iptables.PortRange{First: binary.BigEndian.Uint16(first[i:]), Last: binary.BigEndian.Uint16(last[i:])}
		return iptables.PortMatch{Range: r, Not: not, Set: true}
	}
	switch {
	case p.Offset == 0 && p.Len == 2:
		d.AddMatch(iptables.Ports{Protocol: protocol, Source: match(0)})
	case p.Offset == 2 && p.Len == 2:
		d.destinationPort(protocol, match(0))
	case p.Offset == 0 && p.Len == 4 && !not && bytes.Equal(first, last):
		// iptables 1.8.9 writes "! --sport A ! --dport B" in this way too,
		// as "not both", which is not what it says. It stays unknown.
		d.AddMatch(iptables.Ports{Protocol: protocol, Source: match(0), Destination: match(2)})
	default:
		return false
	}
	return d.Take(length)
}

// destinationPort joins the match to the source port's before it: both are options of one
// "-m tcp".
func (d *Decoder) destinationPort(protocol iptables.Protocol, match iptables.PortMatch) {
	if last := len(d.Rule.Matches) - 1; last >= 0 {
		m, ok := d.Rule.Matches[last].(iptables.Ports)
		if ok && m.Source.Set && !m.Destination.Set {
			m.Destination = match
			d.Rule.Matches[last] = m
			return
		}
	}
	d.AddMatch(iptables.Ports{Protocol: protocol, Destination: match})
}
