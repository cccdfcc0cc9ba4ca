package native

import (
	"encoding/binary"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"golang.org/x/sys/unix"
)

// decoder reads the expressions of one rule of the native table.
type decoder struct {
	expression.Decoder
	sets map[string]*installedSet
}

// decode reads what encode writes. What it cannot read becomes an unknown match or
// target, which holds the bytes.
func decode(exprs []expression.Expression, sets map[string]*installedSet) rule {
	d := decoder{expression.Decoder{Rest: exprs}, sets}
	for len(d.Rest) > 0 {
		if d.Rule.Target != nil || !d.next() {
			d.Unknown()
		}
	}
	d.UnknownTarget()
	return rule{family: d.Family, rule: d.Rule, uncounted: !d.Counted()}
}

// next reads a condition, the counter or the target. After the counter there is only
// the target.
func (d *decoder) next() bool { return !d.Counted() && d.condition() || d.target() }

// guard reads "meta nfproto", which comes before the first address.
func (d *decoder) guard() bool {
	key, register, ok := d.Rest[0].Meta()
	if !ok || key != unix.NFT_META_NFPROTO || d.Family != anyFamily {
		return false
	}
	c, ok := d.Comparison(register)
	if !ok || c.Not || c.Mask != nil || len(c.Data) != 1 {
		return false
	}
	for _, f := range iptables.Families() {
		if c.Data[0] == tables.Number(f) {
			d.Family = f
			return d.Take(c.Length)
		}
	}
	return false
}

func (d *decoder) condition() bool {
	if p, ok := d.Rest[0].Payload(); ok && p.Base == unix.NFT_PAYLOAD_NETWORK_HEADER && d.Family == anyFamily {
		return false
	}
	return d.guard() || d.lookup() || d.addressRange() || d.owner() || d.connection() || d.Condition() || d.Counter()
}

// lookup reads the load of a field and its lookup in a set.
func (d *decoder) lookup() bool {
	n := 1
	network := len(d.Rest) > n && isToNetworkOrder(d.Rest[n], register)
	if network {
		n++
	}
	if len(d.Rest) <= n {
		return false
	}
	name, not, ok := readLookup(d.Rest[n], register)
	if !ok {
		return false
	}
	for _, f := range iptables.SetFields() {
		field, err := setFieldOf(f, expression.SourceOf(d.Family).Size)
		if err != nil || !d.loads(field) || network && !field.host {
			continue
		}
		if f == iptables.DestinationAddress && !not && d.sets[name].isNamed(d.Family) {
			d.AddMatch(iptables.NamedSet{Name: name})
			return d.Take(n + 1)
		}
		ports := f == iptables.SourcePort || f == iptables.DestinationPort
		set, ok := d.sets[name].decode(f, field.size, field.host && !network)
		if !ok || ports && !d.hasPorts() || network != (field.host && hasIntervals(set)) {
			return false
		}
		set.Not = not
		d.AddMatch(set)
		return d.Take(n + 1)
	}
	return false
}

// addressRange reads the load of an address and its comparison with an interval: nft
// turns a set of one interval into that.
func (d *decoder) addressRange() bool {
	for _, f := range []iptables.SetField{iptables.SourceAddress, iptables.DestinationAddress} {
		field, err := setFieldOf(f, expression.SourceOf(d.Family).Size)
		if err != nil || !d.loads(field) {
			continue
		}
		first, last, not, n := d.Between(1, register)
		if n == 0 || len(first) != field.size {
			return false
		}
		d.AddMatch(iptables.NewSet(f, not, []iptables.Interval{{First: iptables.Value(first), Last: iptables.Value(last)}}))
		return d.Take(n)
	}
	return false
}

// hasPorts reports whether the rule matches a protocol with ports.
func (d *decoder) hasPorts() bool {
	return d.Rule.Protocol == (iptables.ProtocolMatch{Protocol: iptables.TCP}) || d.Rule.Protocol == (iptables.ProtocolMatch{Protocol: iptables.UDP})
}

// loads reports whether the first expression loads a field.
func (d *decoder) loads(f setField) bool {
	switch load := f.load.(type) {
	case *expression.Meta:
		key, to, ok := d.Rest[0].Meta()
		return ok && key == load.Key && to == register
	case *expression.Payload:
		p, ok := d.Rest[0].Payload()
		return ok && p == *load
	}
	return false
}

func (d *decoder) owner() bool {
	key, register, ok := d.Rest[0].Meta()
	if !ok || key != unix.NFT_META_SKUID && key != unix.NFT_META_SKGID || len(d.Rest) < 2 {
		return false
	}
	if key == unix.NFT_META_SKUID && d.isFromSocket(register) {
		d.AddMatch(iptables.Owner{Socket: true})
		return d.Take(3)
	}
	var id iptables.IDMatch
	n := 2
	if isToNetworkOrder(d.Rest[1], register) {
		first, last, not, length := d.Between(n, register)
		if length == 0 || not || len(first) != 4 {
			return false
		}
		id = iptables.IDMatch{First: binary.BigEndian.Uint32(first), Last: binary.BigEndian.Uint32(last), Set: true}
		n = length
	} else {
		data, not, ok := d.Rest[1].Compare(register)
		if !ok || not || len(data) != 4 {
			return false
		}
		id = iptables.ID(binary.NativeEndian.Uint32(data))
	}
	if key == unix.NFT_META_SKUID {
		d.AddMatch(iptables.Owner{UID: id})
	} else {
		d.AddMatch(iptables.Owner{GID: id})
	}
	return d.Take(n)
}

// isFromSocket reads a comparison that any user meets.
func (d *decoder) isFromSocket(register uint32) bool {
	if len(d.Rest) < 3 || !isToNetworkOrder(d.Rest[1], register) {
		return false
	}
	data, ok := readAtLeast(d.Rest[2], register)
	return ok && binary.BigEndian.Uint32(data) == 0
}

// connection reads comparisons with the state and the mark of a connection.
func (d *decoder) connection() bool {
	key, register, _, ok := readCt(d.Rest[0])
	if !ok || register == 0 {
		return false
	}
	c, ok := d.Comparison(register)
	if !ok || len(c.Data) != 4 {
		return false
	}
	value := binary.NativeEndian.Uint32(c.Data)
	mask := uint32(iptables.FullMask)
	if c.Mask != nil {
		mask = binary.NativeEndian.Uint32(c.Mask)
	}
	switch key {
	case unix.NFT_CT_MARK:
		d.AddMatch(iptables.Connmark{Value: value, Mask: mask, Not: c.Not})
		return d.Take(c.Length)
	case unix.NFT_CT_STATE:
		m := iptables.Conntrack{Not: !c.Not}
		for _, s := range ctStates {
			if mask&s.bit != 0 {
				m.States |= s.state
				mask &^= s.bit
			}
		}
		if c.Mask == nil || value != 0 || mask != 0 {
			return false
		}
		d.AddMatch(m)
		return d.Take(c.Length)
	}
	return false
}
