package native

import (
	"encoding/binary"
	"fmt"

	"github.com/google/nftables/expr"
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"golang.org/x/sys/unix"
)

func (e *encoder) target(f iptables.Family, t iptables.Target) {
	switch t := t.(type) {
	case iptables.Redirect:
		e.redirect(t)
	case iptables.TProxy:
		e.tproxy(f, t)
	case iptables.SNAT:
		e.Add(
			&expr.Immediate{Register: register, Data: t.To.AsSlice()},
			&expr.NAT{Type: expr.NATTypeSourceNAT, Family: uint32(tables.Number(iptables.FamilyOf(t.To))), RegAddrMin: register, RegAddrMax: register},
		)
	case iptables.SetMark:
		e.setMark(t.Value, t.Mask)
	case iptables.SetConnmark:
		e.setConnmark(t.Value, t.Mask)
	case iptables.SaveMark:
		if t.ConnectionMask != iptables.FullMask {
			e.Fail(fmt.Errorf("the native form saves whole marks only, not the bits %#x", t.ConnectionMask))
			return
		}
		e.Add(&expr.Meta{Key: expr.MetaKeyMARK, Register: register})
		e.copyBits(t.PacketMask)
		e.Add(&expr.Ct{Key: expr.CtKeyMARK, Register: register, SourceRegister: true})
	case iptables.RestoreMark:
		if t.PacketMask != iptables.FullMask {
			e.Fail(fmt.Errorf("the native form restores whole marks only, not the bits %#x", t.PacketMask))
			return
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
		if !e.Target(t) {
			e.Fail(fmt.Errorf("the target %s has no native form", iptables.Rule{Target: t}))
		}
	}
}

func (e *encoder) redirect(t iptables.Redirect) {
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

// tproxy leaves packets without a listening socket to the next rule, which drops them as
// the target TPROXY does; see isTProxyGuard.
func (e *encoder) tproxy(f iptables.Family, t iptables.TProxy) {
	to := &expr.TProxy{Family: unix.NFPROTO_UNSPEC}
	if f != anyFamily {
		to.Family = tables.Number(f)
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

func (e *encoder) setMark(value, mask uint32) {
	if mask == iptables.FullMask {
		e.Add(&expr.Immediate{Register: register, Data: native32(value)})
	} else {
		e.Add(&expr.Meta{Key: expr.MetaKeyMARK, Register: register})
		e.bitwise(^mask, value)
	}
	e.Add(&expr.Meta{Key: expr.MetaKeyMARK, Register: register, SourceRegister: true})
}

func (e *encoder) setConnmark(value, mask uint32) {
	if mask == iptables.FullMask {
		e.Add(&expr.Immediate{Register: register, Data: native32(value)})
	} else {
		e.Add(&expr.Ct{Key: expr.CtKeyMARK, Register: register})
		e.bitwise(^mask, value)
	}
	e.Add(&expr.Ct{Key: expr.CtKeyMARK, Register: register, SourceRegister: true})
}

// copyBits keeps the bits of the mask in the register.
func (e *encoder) copyBits(mask uint32) {
	if mask != iptables.FullMask {
		e.bitwise(mask, 0)
	}
}
