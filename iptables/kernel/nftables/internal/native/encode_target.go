package native

import (
	"encoding/binary"
	"fmt"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
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
			&expression.Immediate{Register: register, Data: t.To.AsSlice()},
			&expression.NAT{Type: unix.NFT_NAT_SNAT, Family: uint32(tables.Number(iptables.FamilyOf(t.To))), RegAddrMin: register, RegAddrMax: register},
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
		e.Add(&expression.Meta{Key: unix.NFT_META_MARK, Register: register})
		e.copyBits(t.PacketMask)
		e.Add(&expression.Ct{Key: unix.NFT_CT_MARK, Register: register, SourceRegister: true})
	case iptables.RestoreMark:
		if t.PacketMask != iptables.FullMask {
			e.Fail(fmt.Errorf("the native form restores whole marks only, not the bits %#x", t.PacketMask))
			return
		}
		e.Add(&expression.Ct{Key: unix.NFT_CT_MARK, Register: register})
		e.copyBits(t.ConnectionMask)
		e.Add(&expression.Meta{Key: unix.NFT_META_MARK, Register: register, SourceRegister: true})
	case iptables.CTZone:
		e.Add(
			&expression.Immediate{Register: register, Data: binary.NativeEndian.AppendUint16(nil, t.Zone)},
			&expression.Ct{Key: unix.NFT_CT_ZONE, Register: register, SourceRegister: true},
		)
	default:
		if !e.Target(t) {
			e.Fail(fmt.Errorf("the target %s has no native form", iptables.Rule{Target: t}))
		}
	}
}

func (e *encoder) redirect(t iptables.Redirect) {
	if t.Ports == (iptables.PortRange{}) {
		e.Add(&expression.Redir{})
		return
	}
	e.Add(&expression.Immediate{Register: register, Data: binary.BigEndian.AppendUint16(nil, t.Ports.First)})
	to := &expression.Redir{RegisterProtoMin: register, Flags: unix.NF_NAT_RANGE_PROTO_SPECIFIED}
	if t.Ports.First != t.Ports.Last {
		e.Add(&expression.Immediate{Register: unix.NFT_REG_2, Data: binary.BigEndian.AppendUint16(nil, t.Ports.Last)})
		to.RegisterProtoMax = unix.NFT_REG_2
	}
	e.Add(to)
}

// tproxy leaves packets without a listening socket to the next rule, which drops them as
// the target TPROXY does; see isTProxyGuard.
func (e *encoder) tproxy(f iptables.Family, t iptables.TProxy) {
	to := &expression.TProxy{Family: unix.NFPROTO_UNSPEC}
	if f != anyFamily {
		to.Family = tables.Number(f)
	}
	if !t.IP.IsUnspecified() {
		e.Add(&expression.Immediate{Register: unix.NFT_REG_2, Data: t.IP.AsSlice()})
		to.RegAddr = unix.NFT_REG_2
	}
	e.Add(&expression.Immediate{Register: register, Data: binary.BigEndian.AppendUint16(nil, t.Port)})
	to.RegPort = register
	e.Add(to)
	e.setMark(t.Mark, t.Mask)
	e.Add(&expression.Verdict{Kind: expression.VerdictAccept})
}

func (e *encoder) setMark(value, mask uint32) {
	if mask == iptables.FullMask {
		e.Add(&expression.Immediate{Register: register, Data: native32(value)})
	} else {
		e.Add(&expression.Meta{Key: unix.NFT_META_MARK, Register: register})
		e.bitwise(^mask, value)
	}
	e.Add(&expression.Meta{Key: unix.NFT_META_MARK, Register: register, SourceRegister: true})
}

func (e *encoder) setConnmark(value, mask uint32) {
	if mask == iptables.FullMask {
		e.Add(&expression.Immediate{Register: register, Data: native32(value)})
	} else {
		e.Add(&expression.Ct{Key: unix.NFT_CT_MARK, Register: register})
		e.bitwise(^mask, value)
	}
	e.Add(&expression.Ct{Key: unix.NFT_CT_MARK, Register: register, SourceRegister: true})
}

// copyBits keeps the bits of the mask in the register.
func (e *encoder) copyBits(mask uint32) {
	if mask != iptables.FullMask {
		e.bitwise(mask, 0)
	}
}
