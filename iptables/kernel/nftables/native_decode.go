package nftables

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/google/nftables/expr"
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"golang.org/x/sys/unix"
)

// nativeDecoder reads the expressions of one rule of the native table.
type nativeDecoder struct {
	expression.Decoder
	sets map[string]*installedSet
}

// decodeNative reads what encodeNative writes. What it cannot read becomes an
// unknown match or target, as in decodeRule.
func decodeNative(exprs []expression.Expression, sets map[string]*installedSet) nativeRule {
	d := nativeDecoder{expression.Decoder{Rest: exprs}, sets}
	d.guard()
	for len(d.Rest) > 0 {
		if d.Rule.Target != nil || !d.Counted() && !d.condition() || d.Counted() && !d.nativeTarget() {
			d.Unknown()
		}
	}
	d.UnknownTarget()
	return nativeRule{d.Family, d.Rule}
}

// guard reads "meta nfproto", which comes first.
func (d *nativeDecoder) guard() {
	if len(d.Rest) == 0 {
		return
	}
	key, register, ok := d.Rest[0].Meta()
	if !ok || key != expr.MetaKeyNFPROTO {
		return
	}
	c, ok := d.Comparison(register)
	if !ok || c.Not || c.Mask != nil || len(c.Data) != 1 {
		return
	}
	for _, f := range iptables.Families() {
		if c.Data[0] == familyNumber(f) {
			d.Family = f
			d.Take(c.Length)
		}
	}
}

func (d *nativeDecoder) condition() bool {
	if p, ok := d.Rest[0].Payload(); ok && p.Base == expr.PayloadBaseNetworkHeader && d.Family == anyFamily {
		return false
	}
	return d.lookup() || d.owner() || d.connection() || d.Condition() || d.Counter()
}

// lookup reads the load of a field and its lookup in a set.
func (d *nativeDecoder) lookup() bool {
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
	for _, f := range []iptables.SetField{
		iptables.SourceAddress, iptables.DestinationAddress, iptables.InInterface, iptables.OutInterface,
		iptables.SourcePort, iptables.DestinationPort, iptables.OwnerUID, iptables.OwnerGID,
	} {
		field, err := setFieldOf(f, expression.SourceOf(d.Family).Size)
		if err != nil || !d.loads(field) || network && !field.host {
			continue
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

// hasPorts reports whether the rule is about a protocol with ports.
func (d *nativeDecoder) hasPorts() bool {
	return d.Rule.Protocol == (iptables.ProtocolMatch{Protocol: iptables.TCP}) || d.Rule.Protocol == (iptables.ProtocolMatch{Protocol: iptables.UDP})
}

// loads reports whether the first expression loads a field.
func (d *nativeDecoder) loads(f setField) bool {
	switch load := f.load.(type) {
	case *expr.Meta:
		key, to, ok := d.Rest[0].Meta()
		return ok && key == load.Key && to == register
	case *expr.Payload:
		p, ok := d.Rest[0].Payload()
		return ok && p == *load
	}
	return false
}

func (d *nativeDecoder) owner() bool {
	key, register, ok := d.Rest[0].Meta()
	if !ok || key != expr.MetaKeySKUID && key != expr.MetaKeySKGID || len(d.Rest) < 2 {
		return false
	}
	var id iptables.IDMatch
	n := 2
	if isToNetworkOrder(d.Rest[1], register) && len(d.Rest) > 2 {
		first, last, not, ok := d.Rest[2].Between(register)
		if !ok || not || len(first) != 4 || len(last) != 4 {
			return false
		}
		id = iptables.IDMatch{First: binary.BigEndian.Uint32(first), Last: binary.BigEndian.Uint32(last), Set: true}
		n = 3
	} else {
		data, not, ok := d.Rest[1].Compare(register)
		if !ok || not || len(data) != 4 {
			return false
		}
		id = iptables.ID(binary.NativeEndian.Uint32(data))
	}
	if key == expr.MetaKeySKUID {
		d.AddMatch(iptables.Owner{UID: id})
	} else {
		d.AddMatch(iptables.Owner{GID: id})
	}
	return d.Take(n)
}

// connection reads comparisons with the state and the mark of a connection.
func (d *nativeDecoder) connection() bool {
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
	case expr.CtKeyMARK:
		d.AddMatch(iptables.Connmark{Value: value, Mask: mask, Not: c.Not})
		return d.Take(c.Length)
	case expr.CtKeySTATE:
		m := iptables.Conntrack{Not: !c.Not}
		for _, s := range nativeStates {
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

func (d *nativeDecoder) nativeTarget() bool {
	if d.Verdict() {
		return true
	}
	t, n := d.readTarget()
	if n == 0 {
		return false
	}
	d.Rule.Target = t
	return d.Take(n)
}

// readTarget reads a target of several expressions; n is 0 if there is none.
func (d *nativeDecoder) readTarget() (t iptables.Target, n int) {
	// Two immediate values at most, by their registers.
	values := make(map[uint32][]byte)
	for n < len(d.Rest) {
		to, data, ok := readImmediate(d.Rest[n])
		if !ok || values[to] != nil {
			break
		}
		values[to] = data
		n++
	}
	if n == len(d.Rest) {
		return nil, 0
	}
	at := d.Rest[n]
	if first, last, ok := readRedir(at); ok {
		return readRedirect(values, first, last), n + 1
	}
	if family, address, port, ok := readTProxy(at); ok && family == tproxyFamily(d.Family) {
		return d.readTProxy(n+1, values[address], values[port])
	}
	if key, _, set, ok := readCt(at); ok && n == 1 && key == expr.CtKeyZONE && len(values[set]) == 2 {
		return iptables.CTZone{Zone: binary.NativeEndian.Uint16(values[set])}, n + 1
	}
	if m, used := d.readSetMark(d.Rest); used > 0 {
		return m, used
	}
	return d.readCopyMark()
}

func tproxyFamily(f iptables.Family) byte {
	if f == anyFamily {
		return unix.NFPROTO_UNSPEC
	}
	return familyNumber(f)
}

func readRedirect(values map[uint32][]byte, first, last uint32) iptables.Target {
	if first == 0 {
		return iptables.Redirect{}
	}
	port := func(register uint32) uint16 {
		if len(values[register]) != 2 {
			return 0
		}
		return binary.BigEndian.Uint16(values[register])
	}
	return iptables.Redirect{Ports: iptables.PortRange{First: port(first), Last: port(last)}}
}

func (d *nativeDecoder) readTProxy(n int, address, port []byte) (iptables.Target, int) {
	mark, used := d.readSetMark(d.Rest[n:])
	if used == 0 || len(port) != 2 || len(d.Rest) <= n+used {
		return nil, 0
	}
	if v, ok := d.Rest[n+used].Verdict(); !ok || v.Kind != expr.VerdictAccept {
		return nil, 0
	}
	ip := iptables.IPv4.Unspecified()
	if address != nil {
		var ok bool
		if ip, ok = netip.AddrFromSlice(address); !ok {
			return nil, 0
		}
	}
	return iptables.TProxy{Port: binary.BigEndian.Uint16(port), IP: ip, Mark: mark.Value, Mask: mark.Mask}, n + used + 1
}

// readSetMark reads "meta mark set value", and the same for the bits of a mask.
func (d *nativeDecoder) readSetMark(list []expression.Expression) (m iptables.SetMark, n int) {
	if len(list) >= 2 && isSetMeta(list[1], expr.MetaKeyMARK, register) {
		if to, data, ok := readImmediate(list[0]); ok && to == register && len(data) == 4 {
			return iptables.SetMark{Value: binary.NativeEndian.Uint32(data), Mask: iptables.FullMask}, 2
		}
	}
	if len(list) >= 3 && isSetMeta(list[2], expr.MetaKeyMARK, register) {
		key, to, ok := list[0].Meta()
		mask, xor, isMasked := readMasked(list[1], register)
		if ok && to == register && key == expr.MetaKeyMARK && isMasked {
			return iptables.SetMark{Value: xor, Mask: ^mask}, 3
		}
	}
	return m, 0
}

// readCopyMark reads "ct mark set meta mark" and "meta mark set ct mark", with a
// mask for what is copied.
func (d *nativeDecoder) readCopyMark() (iptables.Target, int) {
	list := d.Rest
	mask, n := uint32(iptables.FullMask), 1
	if len(list) > 2 {
		if bits, xor, ok := readMasked(list[1], register); ok && xor == 0 {
			mask, n = bits, 2
		}
	}
	if len(list) <= n {
		return nil, 0
	}
	if key, to, ok := list[0].Meta(); ok && key == expr.MetaKeyMARK && to == register {
		if key, load, set, ok := readCt(list[n]); ok && key == expr.CtKeyMARK && load == 0 && set == register {
			return iptables.SaveMark{PacketMask: mask, ConnectionMask: iptables.FullMask}, n + 1
		}
	}
	if key, load, _, ok := readCt(list[0]); ok && key == expr.CtKeyMARK && load == register &&
		isSetMeta(list[n], expr.MetaKeyMARK, register) {
		return iptables.RestoreMark{PacketMask: iptables.FullMask, ConnectionMask: mask}, n + 1
	}
	return nil, 0
}

// isTProxyGuard reports whether rule drops what tproxy, the rule before it, finds
// no listener for. The target TPROXY drops such packets itself (net/netfilter/
// xt_TPROXY.c); the expression leaves them to the next rule (nft_tproxy.c), and
// past it they would get around the proxy.
func isTProxyGuard(tproxy, rule nativeRule) bool {
	if _, ok := tproxy.rule.Target.(iptables.TProxy); !ok || rule.rule.Target != iptables.Drop {
		return false
	}
	return tproxyGuard(tproxy).text() == rule.text() && tproxy.family == rule.family
}

func tproxyGuard(tproxy nativeRule) nativeRule {
	guard := tproxy
	guard.rule.Target = iptables.Drop
	guard.rule.Counters = iptables.Counters{}
	return guard
}

// joinTProxy makes one rule of each TPROXY and its guard. Without the guard it is
// not the target that the model knows.
func joinTProxy(rules []nativeRule) []nativeRule {
	var joined []nativeRule
	for i := 0; i < len(rules); i++ {
		r := rules[i]
		if t, ok := r.rule.Target.(iptables.TProxy); ok {
			if i+1 < len(rules) && isTProxyGuard(r, rules[i+1]) {
				i++
			} else {
				words := iptables.Rule{Target: t}.String()
				r.rule.Target = iptables.UnknownTarget{Name: expression.Unknown, Args: []string{"tproxy without a drop after it:", words}}
			}
		}
		joined = append(joined, r)
	}
	return slices.Clip(joined)
}
