package nftables

import (
	"encoding/binary"
	"fmt"

	"github.com/google/nftables/expr"
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"golang.org/x/sys/unix"
)

// nativeEncoder writes the expressions of one rule.
type nativeEncoder struct {
	*expression.Encoder
	// newSet announces an anonymous set and returns its number in the batch.
	newSet func(iptables.Set) uint32
}

// encodeNative appends a rule in nf_tables' own expressions, as nft writes them.
func encodeNative(to *expression.Encoder, r nativeRule, newSet func(iptables.Set) uint32) error {
	e := nativeEncoder{to, newSet}
	if r.family != anyFamily {
		e.Add(
			&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: register},
			&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{familyNumber(r.family)}},
		)
	}
	e.Interfaces(r.rule.In, r.rule.Out)
	if err := e.Addresses(r.family, r.rule.Source, r.rule.Destination); err != nil {
		return err
	}
	if err := e.Protocol(r.rule.Protocol); err != nil {
		return err
	}
	for _, m := range r.rule.Matches {
		if err := e.nativeMatch(m); err != nil {
			return err
		}
	}
	e.Add(&expr.Counter{})
	return e.nativeTarget(r.family, r.rule.Target)
}

func (e *nativeEncoder) nativeMatch(m iptables.Match) error {
	switch m := m.(type) {
	case iptables.Set:
		return e.lookup(m)
	case iptables.Ports:
		e.port(0, m.Source)
		e.port(2, m.Destination)
		return nil
	case iptables.Owner:
		return e.owner(m)
	case iptables.Conntrack:
		e.state(m)
		return nil
	case iptables.Mark:
		e.Add(&expr.Meta{Key: expr.MetaKeyMARK, Register: register})
		e.masked(m.Value, m.Mask, m.Not)
		return nil
	case iptables.Connmark:
		e.Add(&expr.Ct{Key: expr.CtKeyMARK, Register: register})
		e.masked(m.Value, m.Mask, m.Not)
		return nil
	case iptables.UnknownMatch:
		if e.Unknown(m.Name, m.Args) {
			return nil
		}
	}
	return fmt.Errorf("the match %s has no native form", iptables.Rule{Matches: []iptables.Match{m}})
}

// port compares one of the ports, which begin the header of TCP as of UDP.
func (e *nativeEncoder) port(offset uint32, m iptables.PortMatch) {
	if !m.Set {
		return
	}
	i := iptables.PortInterval(m.Range)
	e.Add(&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2})
	e.within(i, m.Not)
}

// within compares the register, in the order of the network, with an interval.
func (e *nativeEncoder) within(i iptables.Interval, not bool) {
	if i.First == i.Last {
		e.Add(&expr.Cmp{Op: expression.CompareOp(not), Register: register, Data: []byte(i.First)})
		return
	}
	e.Add(&expr.Range{Op: expression.CompareOp(not), Register: register, FromData: []byte(i.First), ToData: []byte(i.Last)})
}

func (e *nativeEncoder) owner(m iptables.Owner) error {
	for _, id := range []struct {
		key expr.MetaKey
		iptables.IDMatch
	}{{expr.MetaKeySKUID, m.UID}, {expr.MetaKeySKGID, m.GID}} {
		switch {
		case !id.Set:
			continue
		case id.Not:
			return fmt.Errorf("the native form cannot ask who a packet is not from (%s)", iptables.Rule{Matches: []iptables.Match{m}})
		}
		e.Add(&expr.Meta{Key: id.key, Register: register})
		if id.First == id.Last {
			e.Add(&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: native32(id.First)})
			continue
		}
		e.networkOrder()
		e.within(iptables.IDInterval(id.First, id.Last), false)
	}
	return nil
}

// networkOrder makes values comparable byte by byte.
func (e *nativeEncoder) networkOrder() {
	e.Add(&expr.Byteorder{SourceRegister: register, DestRegister: register, Op: expr.ByteorderHton, Len: 4, Size: 4})
}

// state compares with the bits of enum nft_ct_keys' NFT_CT_STATE, which are those
// of the match conntrack but for UNTRACKED (nf_conntrack_common.h).
func (e *nativeEncoder) state(m iptables.Conntrack) {
	var bits uint32
	for _, s := range nativeStates {
		if m.States&s.state != 0 {
			bits |= s.bit
		}
	}
	e.Add(
		&expr.Ct{Key: expr.CtKeySTATE, Register: register},
		&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 4, Mask: native32(bits), Xor: native32(0)},
		&expr.Cmp{Op: expression.CompareOp(!m.Not), Register: register, Data: native32(0)},
	)
}

// nativeStates gives NF_CT_STATE_INVALID_BIT, NF_CT_STATE_BIT and
// NF_CT_STATE_UNTRACKED_BIT (linux/netfilter/nf_conntrack_common.h).
var nativeStates = [...]struct {
	state iptables.CTState
	bit   uint32
}{
	{iptables.StateInvalid, 1 << 0},
	{iptables.StateEstablished, 1 << 1},
	{iptables.StateRelated, 1 << 2},
	{iptables.StateNew, 1 << 3},
	{iptables.StateUntracked, 1 << 6},
}

// masked compares the bits of the mask in the register.
func (e *nativeEncoder) masked(value, mask uint32, not bool) {
	if mask != iptables.FullMask {
		e.bitwise(mask, 0)
	}
	e.Add(&expr.Cmp{Op: expression.CompareOp(not), Register: register, Data: native32(value)})
}

func (e *nativeEncoder) bitwise(mask, xor uint32) {
	e.Add(&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 4, Mask: native32(mask), Xor: native32(xor)})
}

func (e *nativeEncoder) nativeTarget(f iptables.Family, t iptables.Target) error {
	switch t := t.(type) {
	case iptables.Redirect:
		e.redirect(t)
	case iptables.TProxy:
		e.tproxy(f, t)
	case iptables.SetMark:
		e.setMark(t.Value, t.Mask)
	case iptables.SaveMark:
		if t.ConnectionMask != iptables.FullMask {
			return fmt.Errorf("the native form saves whole marks only, not %#x of one", t.ConnectionMask)
		}
		e.Add(&expr.Meta{Key: expr.MetaKeyMARK, Register: register})
		e.copyBits(t.PacketMask)
		e.Add(&expr.Ct{Key: expr.CtKeyMARK, Register: register, SourceRegister: true})
	case iptables.RestoreMark:
		if t.PacketMask != iptables.FullMask {
			return fmt.Errorf("the native form restores whole marks only, not %#x of one", t.PacketMask)
		}
		e.Add(&expr.Ct{Key: expr.CtKeyMARK, Register: register})
		e.copyBits(t.ConnectionMask)
		e.Add(&expr.Meta{Key: expr.MetaKeyMARK, Register: register, SourceRegister: true})
	case iptables.CTZone:
		e.Add(
			&expr.Immediate{Register: register, Data: binary.NativeEndian.AppendUint16(nil, t.Zone)},
			&expr.Ct{Key: expr.CtKeyZONE, Register: register, SourceRegister: true},
		)
	default:
		ok, err := e.Target(t)
		if err == nil && !ok {
			err = fmt.Errorf("the target %s has no native form", iptables.Rule{Target: t})
		}
		return err
	}
	return nil
}

func (e *nativeEncoder) redirect(t iptables.Redirect) {
	if t.Ports == (iptables.PortRange{}) {
		e.Add(&expr.Redir{})
		return
	}
	e.Add(&expr.Immediate{Register: register, Data: binary.BigEndian.AppendUint16(nil, t.Ports.First)})
	to := &expr.Redir{RegisterProtoMin: register, Flags: unix.NF_NAT_RANGE_PROTO_SPECIFIED}
	if t.Ports.First != t.Ports.Last {
		e.Add(&expr.Immediate{Register: unix.NFT_REG_2, Data: binary.BigEndian.AppendUint16(nil, t.Ports.Last)})
		to.RegisterProtoMax = unix.NFT_REG_2
	}
	e.Add(to)
}

// tproxy leaves packets for which no socket listens to the next rule, which drops
// them as the target TPROXY does; see isTProxyGuard.
func (e *nativeEncoder) tproxy(f iptables.Family, t iptables.TProxy) {
	to := &expr.TProxy{Family: unix.NFPROTO_UNSPEC}
	if f != anyFamily {
		to.Family = familyNumber(f)
	}
	if !t.IP.IsUnspecified() {
		e.Add(&expr.Immediate{Register: unix.NFT_REG_2, Data: t.IP.AsSlice()})
		to.RegAddr = unix.NFT_REG_2
	}
	e.Add(&expr.Immediate{Register: register, Data: binary.BigEndian.AppendUint16(nil, t.Port)})
	to.RegPort = register
	e.Add(to)
	e.setMark(t.Mark, t.Mask)
	e.Add(&expr.Verdict{Kind: expr.VerdictAccept})
}

func (e *nativeEncoder) setMark(value, mask uint32) {
	if mask == iptables.FullMask {
		e.Add(&expr.Immediate{Register: register, Data: native32(value)})
	} else {
		e.Add(&expr.Meta{Key: expr.MetaKeyMARK, Register: register})
		e.bitwise(^mask, value)
	}
	e.Add(&expr.Meta{Key: expr.MetaKeyMARK, Register: register, SourceRegister: true})
}

// copyBits keeps the bits of the mask in the register.
func (e *nativeEncoder) copyBits(mask uint32) {
	if mask != iptables.FullMask {
		e.bitwise(mask, 0)
	}
}

func native32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
