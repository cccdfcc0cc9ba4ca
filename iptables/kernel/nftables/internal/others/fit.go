package others

import (
	"encoding/binary"

	"github.com/meshtables/meshtables/iptables"
)

// fit adds a condition as a match of iptables, if there is one that says the same.
func (d *decoder) fit(c *condition) bool {
	l := c.loads[0]
	if len(c.loads) == 1 && (l.key.Field == iptables.FieldFamily || l.key.Field == iptables.FieldEthertype) {
		return d.fitFamily(c)
	}
	if c.set != "" || len(c.elements) == 0 {
		return false
	}
	if len(c.loads) == 2 {
		return d.fitBothPorts(c)
	}
	if len(c.loads) > 2 {
		return false
	}
	switch l.key.Field {
	case iptables.FieldMark, iptables.FieldConnMark:
		return d.fitMark(c)
	case iptables.FieldState:
		return d.fitState(c)
	}
	if l.key.Mask != "" || l.key.Xor != "" {
		return d.fitFlags(c) || d.fitFragment(c) || d.fitMaskedAddress(c)
	}
	switch f := iptables.SetField(l.key.Field); f {
	case iptables.SourceAddress, iptables.DestinationAddress:
		return d.fitAddress(c, f) || d.fitSet(c, f)
	case iptables.InInterface, iptables.OutInterface:
		return d.fitInterface(c, f) || d.fitSet(c, f)
	case iptables.SourcePort, iptables.DestinationPort:
		return d.fitPort(c, f) || d.hasPorts() && d.fitSet(c, f)
	case iptables.OwnerUID, iptables.OwnerGID:
		return d.fitOwner(c, f) || d.fitSet(c, f)
	}
	return l.key.Field == iptables.FieldProtocol && d.fitProtocol(c)
}

// fitFamily leaves out what all packets of the family meet. What none meets ends the
// rule.
func (d *decoder) fitFamily(c *condition) bool {
	met, err := c.comparison().MetBy(&iptables.Packet{Destination: d.family.Unspecified()})
	if err != nil {
		return false
	}
	d.ended = !met
	return met
}

// only returns the interval of a condition with one.
func (c *condition) only() (i iptables.Interval, ok bool) {
	if len(c.loads) != 1 || len(c.elements) != 1 {
		return i, false
	}
	return c.elements[0][0], true
}

// value returns the value of a condition with one.
func (c *condition) value() (v iptables.Value, ok bool) {
	i, ok := c.only()
	return i.First, ok && i.First == i.Last
}

func (d *decoder) fitProtocol(c *condition) bool {
	v, ok := c.value()
	if !ok || d.part().Protocol != (iptables.ProtocolMatch{}) {
		return false
	}
	d.part().Protocol = iptables.ProtocolMatch{Protocol: iptables.ProtocolOf(v[0]), Not: c.not}
	if !c.not {
		d.protocol = d.part().Protocol
	}
	return true
}

func (d *decoder) hasPorts() bool {
	return d.protocol.Protocol == iptables.TCP || d.protocol.Protocol == iptables.UDP
}

func (d *decoder) fitPort(c *condition, f iptables.SetField) bool {
	i, ok := c.only()
	if !ok || !d.hasPorts() {
		return false
	}
	m := iptables.Ports{Protocol: d.protocol.Protocol}
	p := iptables.PortMatch{Range: i.Ports(), Not: c.not, Set: true}
	if f == iptables.SourcePort {
		m.Source = p
	} else {
		m.Destination = p
	}
	return d.ports(m)
}

// ports adds a match to the one before it, if both are options of one "-m tcp".
func (d *decoder) ports(m iptables.Ports) bool {
	all := d.part().Matches
	if last := len(all) - 1; last >= 0 {
		before, ok := all[last].(iptables.Ports)
		joined := before
		if m.Source.Set {
			joined.Source = m.Source
		}
		if m.Destination.Set {
			joined.Destination = m.Destination
		}
		if m.Flags != (iptables.TCPFlags{}) {
			joined.Flags = m.Flags
		}
		if apart := len(options(before)) + len(options(m)); ok && len(options(joined)) == apart {
			all[last] = joined
			return true
		}
	}
	d.match(m)
	return true
}

// options returns the options that a match has.
func options(m iptables.Ports) (all []any) {
	if m.Source.Set {
		all = append(all, m.Source)
	}
	if m.Destination.Set {
		all = append(all, m.Destination)
	}
	if m.Flags != (iptables.TCPFlags{}) {
		all = append(all, m.Flags)
	}
	return all
}

// fitFlags reads a comparison with flags of TCP as iptables has it: those of a mask are
// those of a value.
func (d *decoder) fitFlags(c *condition) bool {
	v, ok := c.value()
	k := c.loads[0].key
	if !ok || k.Field != iptables.FieldTCPFlags || k.Mask == "" || k.Xor[0] != 0 || k.Mask[0]&0xc0 != 0 || d.protocol.Protocol != iptables.TCP {
		return false
	}
	return d.ports(iptables.Ports{
		Protocol: iptables.TCP, Flags: iptables.TCPFlags{Mask: k.Mask[0], Value: v[0], Not: c.not},
	})
}

// fitBothPorts reads a comparison with both ports at once.
func (d *decoder) fitBothPorts(c *condition) bool {
	if len(c.elements) != 1 || c.not || !d.hasPorts() {
		return false
	}
	for i, f := range []iptables.SetField{iptables.SourcePort, iptables.DestinationPort} {
		if c.loads[i].key.Field != iptables.Field(f) || c.loads[i].key.Mask != "" {
			return false
		}
	}
	port := func(i int) iptables.PortMatch {
		return iptables.PortMatch{Range: c.elements[0][i].Ports(), Set: true}
	}
	return d.ports(iptables.Ports{Protocol: d.protocol.Protocol, Source: port(0), Destination: port(1)})
}

func (d *decoder) fitAddress(c *condition, f iptables.SetField) bool {
	i, ok := c.only()
	p, isPrefix := i.Prefix()
	a := d.part().Address(f)
	if !ok || !isPrefix || p.Bits() == 0 || *a != (iptables.Address{}) || len(i.First) != d.family.Unspecified().BitLen()/8 {
		return false
	}
	*a = iptables.Address{Prefix: p, Not: c.not}
	return true
}

// fitMaskedAddress reads a comparison with a prefix as a mask.
func (d *decoder) fitMaskedAddress(c *condition) bool {
	f := iptables.SetField(c.loads[0].key.Field)
	v, ok := c.value()
	if !ok || f != iptables.SourceAddress && f != iptables.DestinationAddress || len(v) != len(c.loads[0].key.Mask) {
		return false
	}
	last := []byte(v)
	for i := range last {
		if c.loads[0].key.Xor[i] != 0 || last[i]&^c.loads[0].key.Mask[i] != 0 {
			return false
		}
		last[i] |= ^c.loads[0].key.Mask[i]
	}
	prefix := *c
	prefix.elements = []iptables.Element{{{First: v, Last: iptables.Value(last)}}}
	if p, ok := prefix.elements[0][0].Prefix(); !ok || string(maskOf(p.Bits(), len(v))) != string(c.loads[0].key.Mask) {
		return false
	}
	return d.fitAddress(&prefix, f)
}

// fitFragment reads iptables' option for fragments after the first.
func (d *decoder) fitFragment(c *condition) bool {
	v, ok := c.value()
	l := c.loads[0]
	if !ok || l.name != "ip frag-off" || toNumber([]byte(l.key.Mask)) != 0x1fff || toNumber([]byte(v)) != 0 || toNumber([]byte(l.key.Xor)) != 0 {
		return false
	}
	args := []string{"-f"}
	if !c.not {
		args = []string{"!", "-f"}
	}
	d.match(iptables.UnknownMatch{Args: args})
	return true
}

func maskOf(bits, size int) []byte {
	mask := make([]byte, size)
	for i := range bits {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return mask
}

func (d *decoder) fitInterface(c *condition, f iptables.SetField) bool {
	i, ok := c.only()
	n, isName := i.Interface()
	to := d.part().Interface(f)
	// In iptables' words, a "+" at the end of a real name looks like a wildcard.
	if !ok || !isName || n == "" || n == "+" || *to != (iptables.Interface{}) || i != iptables.InterfaceInterval(n) {
		return false
	}
	*to = iptables.Interface{Name: n, Not: c.not}
	return true
}

func (d *decoder) fitSet(c *condition, f iptables.SetField) bool {
	var all []iptables.Interval
	for _, e := range c.elements {
		if f == iptables.InInterface || f == iptables.OutInterface {
			// nft joins "veth0*" and "veth1*" when it reads its own listing.
			all = append(all, e[0].Interfaces()...)
			continue
		}
		all = append(all, e[0])
	}
	d.match(iptables.NewSet(f, c.not, all))
	return true
}

// fitOwner leaves negations to sets: a packet without an owner meets the negated match of
// iptables, but not nft's.
func (d *decoder) fitOwner(c *condition, f iptables.SetField) bool {
	i, ok := c.only()
	if !ok || c.not {
		return false
	}
	id := iptables.IDMatch{Set: true}
	id.First, id.Last = i.IDs()
	if f == iptables.OwnerUID {
		d.match(iptables.Owner{UID: id})
	} else {
		d.match(iptables.Owner{GID: id})
	}
	return true
}

func (d *decoder) fitMark(c *condition) bool {
	v, ok := c.value()
	k := c.loads[0].key
	if !ok || len(v) != 4 || k.Xor != "" && toNumber([]byte(k.Xor)) != 0 {
		return false
	}
	mask := uint32(iptables.FullMask)
	if k.Mask != "" {
		mask = binary.BigEndian.Uint32([]byte(k.Mask))
	}
	value := binary.BigEndian.Uint32([]byte(v))
	if k.Field == iptables.FieldMark {
		d.match(iptables.Mark{Value: value, Mask: mask, Not: c.not})
	} else {
		d.match(iptables.Connmark{Value: value, Mask: mask, Not: c.not})
	}
	return true
}

// fitState reads a comparison of some states with 0, which is how nft asks for them.
func (d *decoder) fitState(c *condition) bool {
	if !c.isBitTest() {
		return false
	}
	bits := uint32(toNumber([]byte(c.loads[0].key.Mask)))
	m := iptables.Conntrack{Not: !c.not}
	for _, s := range []iptables.CTState{
		iptables.StateInvalid, iptables.StateNew, iptables.StateRelated, iptables.StateEstablished, iptables.StateUntracked,
	} {
		if bit := iptables.StateBits(s); bits&bit != 0 {
			m.States |= s
			bits &^= bit
		}
	}
	if bits != 0 || toNumber([]byte(c.loads[0].key.Xor)) != 0 {
		return false
	}
	d.match(m)
	return true
}
