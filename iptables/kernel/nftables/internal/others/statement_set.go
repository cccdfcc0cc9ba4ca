package others

import (
	"encoding/binary"
	"strconv"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"golang.org/x/sys/unix"
)

// wrap makes one expression the only element of a list.
func wrap(b []byte) []byte {
	var list netlink.Builder
	list.PutBytes(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, b)
	return list.Bytes()
}

// setField reads "meta set key with reg" and "ct set key with reg".
func (d *decoder) setField(e expression.Expression) bool {
	if e.Name == "ct" {
		a, ok := attributesOf(e, unix.NFTA_CT_SREG)
		return ok && d.setConnection(a)
	}
	a, ok := attributesOf(e, unix.NFTA_META_SREG)
	if !ok || !a.has(unix.NFTA_META_SREG) {
		return false
	}
	from := d.registers.get(a.register(unix.NFTA_META_SREG))
	key := a.number(unix.NFTA_META_KEY)
	switch {
	case key == unix.NFT_META_NFTRACE:
		return d.target("TRACE")
	case key != unix.NFT_META_MARK:
		return d.passes(metaLoads()[key].name + " set")
	}
	if t, ok := setMark(from); ok {
		return d.do(t)
	}
	return d.do(iptables.Statement{Words: "meta mark set " + from.words(mark)})
}

// setMark returns the target that gives the packet's mark a constant, bits of a constant,
// or the connection's mark.
func setMark(from content) (t iptables.Target, ok bool) {
	if len(from.constant) == 4 {
		return iptables.SetMark{Value: binary.NativeEndian.Uint32(from.constant), Mask: iptables.FullMask}, true
	}
	mask, xor, l, ok := from.masked()
	switch {
	case ok && l.key.Field == iptables.FieldMark:
		return iptables.SetMark{Value: xor, Mask: ^mask}, true
	case ok && l.key.Field == iptables.FieldConnMark && xor == 0:
		return iptables.RestoreMark{PacketMask: iptables.FullMask, ConnectionMask: mask}, true
	}
	return nil, false
}

// masked returns the only value of a register with what is done to its 32 bits.
func (c content) masked() (mask, xor uint32, l load, ok bool) {
	if len(c.loads) != 1 || c.loads[0].key.Size != 4 {
		return 0, 0, l, false
	}
	l = c.loads[0]
	mask = iptables.FullMask
	if l.key.Mask != "" {
		mask, xor = binary.BigEndian.Uint32([]byte(l.key.Mask)), binary.BigEndian.Uint32([]byte(l.key.Xor))
	}
	return mask, xor, l, true
}

// words returns what a register holds.
func (c content) words(k kind) string {
	switch {
	case c.constant != nil:
		return k.text(iptables.Value(c.constant))
	case c.mapped != nil:
		return c.mapped.words
	case len(c.loads) > 0:
		return names(c.loads)
	}
	return "a value"
}

func (d *decoder) setConnection(a attributes) bool {
	if !a.has(unix.NFTA_CT_SREG) {
		return false
	}
	from := d.registers.get(a.register(unix.NFTA_CT_SREG))
	key := a.number(unix.NFTA_CT_KEY)
	switch key {
	case unix.NFT_CT_MARK:
		if t, ok := saveMark(from); ok {
			return d.do(t)
		}
		return d.do(iptables.Statement{Words: "ct mark set " + from.words(mark)})
	case unix.NFT_CT_ZONE:
		return d.setZone(a, from)
	}
	return d.passes(ctLoads()[key].name + " set")
}

// saveMark returns the target that gives the connection the packet's mark.
func saveMark(from content) (t iptables.Target, ok bool) {
	mask, xor, l, ok := from.masked()
	if ok && l.key.Field == iptables.FieldMark && xor == 0 {
		return iptables.SaveMark{PacketMask: mask, ConnectionMask: iptables.FullMask}, true
	}
	if ok && l.key.Field == iptables.FieldConnMark {
		return iptables.SetConnmark{Value: xor, Mask: ^mask}, true
	}
	if len(from.constant) == 4 {
		return iptables.SetConnmark{Value: binary.NativeEndian.Uint32(from.constant), Mask: iptables.FullMask}, true
	}
	return nil, false
}

// setZone reads "ct zone set", for one direction or both.
func (d *decoder) setZone(a attributes, from content) bool {
	if len(from.constant) != 2 {
		return d.target("CT", "--zone", from.words(number))
	}
	zone := binary.NativeEndian.Uint16(from.constant)
	if !a.has(unix.NFTA_CT_DIRECTION) {
		return d.do(iptables.CTZone{Zone: zone})
	}
	option := "--zone-orig"
	if a.number(unix.NFTA_CT_DIRECTION) == 1 {
		option = "--zone-reply"
	}
	return d.target("CT", option, strconv.Itoa(int(zone)))
}
