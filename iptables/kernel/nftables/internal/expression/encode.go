package expression

import (
	"fmt"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"golang.org/x/sys/unix"
)

// Encoder writes the expressions of one rule, in the order of the calls, as iptables-nft
// 1.8 (nft_ipv4_add in iptables/nft-ipv4.c) and nft do.
type Encoder struct {
	exprs netlink.Builder // NFTA_RULE_EXPRESSIONS
	err   error           // the first given to Fail
}

// Bytes returns the value of NFTA_RULE_EXPRESSIONS, or the error of the first part
// of the rule that could not be written.
func (e *Encoder) Bytes() ([]byte, error) { return e.exprs.Bytes(), e.err }

// Reset begins the next rule. The bytes of the last one are not valid any more.
func (e *Encoder) Reset() {
	e.exprs.Reset()
	e.err = nil
}

// Fail reports a part of the rule that cannot be written.
func (e *Encoder) Fail(err error) {
	if e.err == nil {
		e.err = err
	}
}

// Unknown appends what was read as an unknown match or target, if it is an
// expression.
func (e *Encoder) Unknown(kept any) (ok bool) {
	x, ok := kept.(Expression)
	if !ok {
		return false
	}
	e.exprs.Nest(unix.NFTA_LIST_ELEM, func() {
		e.exprs.PutString(unix.NFTA_EXPR_NAME, x.Name)
		e.exprs.PutBytes(unix.NFTA_EXPR_DATA|unix.NLA_F_NESTED, x.Data)
	})
	return true
}

// impossibleInterface is what iptables compares with for "! -i +", which no packet
// matches: no interface name has a slash.
const impossibleInterface = "INVAL/D"

// Interfaces appends the conditions on either interface.
func (e *Encoder) Interfaces(in, out iptables.Interface) {
	e.iface(unix.NFT_META_IIFNAME, in)
	e.iface(unix.NFT_META_OIFNAME, out)
}

// iface compares the name with its NUL, or without it if a "+" stands for any rest.
func (e *Encoder) iface(key MetaKey, i iptables.Interface) {
	if i.Name == "" || i.Name == "+" && !i.Not {
		return
	}
	op, name := CompareOp(i.Not), i.Name+"\x00"
	if last := len(i.Name) - 1; i.Name == "+" {
		op, name = unix.NFT_CMP_EQ, impossibleInterface+"\x00"
	} else if i.Name[last] == '+' {
		name = i.Name[:last]
	}
	e.Add(
		&Meta{Key: key, Register: Register},
		&Cmp{Op: op, Register: Register, Data: []byte(name)},
	)
}

// Protocol appends the condition on the protocol.
func (e *Encoder) Protocol(p iptables.ProtocolMatch) {
	if p == (iptables.ProtocolMatch{}) {
		return
	}
	number, err := ProtocolNumber(p.Protocol)
	if err != nil {
		e.Fail(err)
		return
	}
	e.Add(
		&Meta{Key: unix.NFT_META_L4PROTO, Register: Register},
		&Cmp{Op: CompareOp(p.Not), Register: Register, Data: []byte{number}},
	)
}

// Addresses appends the conditions on either address, which have to be of the
// family.
func (e *Encoder) Addresses(family iptables.Family, source, destination iptables.Address) {
	e.address(family, SourceOf(family), source)
	e.address(family, DestinationOf(family), destination)
}

// address loads only the bytes of a prefix that ends between two bytes, and masks the
// whole address otherwise.
func (e *Encoder) address(family iptables.Family, f Field, a iptables.Address) {
	if a == (iptables.Address{}) {
		return
	}
	if iptables.FamilyOf(a.Prefix.Addr()) != family {
		e.Fail(fmt.Errorf("%s is not an %s address", a.Prefix, family))
		return
	}
	bits, data := a.Prefix.Bits(), a.Prefix.Masked().Addr().AsSlice()
	switch {
	case bits < 0 || bits == 0 && a.Not:
		// iptables itself fails at "! -s 0.0.0.0/0".
		e.Fail(fmt.Errorf("the address %s cannot be matched", a.Prefix))
		return
	case bits == 0:
		return
	case bits%8 == 0:
		data = data[:bits/8]
	}
	e.Add(&Payload{
		DestRegister: Register, Base: unix.NFT_PAYLOAD_NETWORK_HEADER,
		Offset: f.Offset, Len: uint32(len(data)),
	})
	if bits%8 != 0 {
		e.Add(&Bitwise{
			SourceRegister: Register, DestRegister: Register,
			Len: uint32(f.Size), Mask: prefixMask(bits, f.Size), Xor: make([]byte, f.Size),
		})
	}
	e.Add(&Cmp{Op: CompareOp(a.Not), Register: Register, Data: data})
}

// Ports appends the conditions on either port, in nf_tables' own expressions. Ports
// begin the header of TCP as of UDP.
func (e *Encoder) Ports(m iptables.Ports) {
	e.port(0, m.Source)
	e.port(2, m.Destination)
}

func (e *Encoder) port(offset uint32, m iptables.PortMatch) {
	if !m.Set {
		return
	}
	e.Add(&Payload{DestRegister: Register, Base: unix.NFT_PAYLOAD_TRANSPORT_HEADER, Offset: offset, Len: 2})
	e.Within(iptables.PortInterval(m.Range), m.Not)
}

// Within compares the register, in the order of the network, with an interval.
func (e *Encoder) Within(i iptables.Interval, not bool) {
	if i.First == i.Last {
		e.Add(&Cmp{Op: CompareOp(not), Register: Register, Data: []byte(i.First)})
		return
	}
	e.Add(&Range{Op: CompareOp(not), Register: Register, FromData: []byte(i.First), ToData: []byte(i.Last)})
}

// Target appends a target that both forms write alike: none, a verdict, a jump, or an
// expression that the model has no type for. It is not ok for other targets.
func (e *Encoder) Target(t iptables.Target) (ok bool) {
	switch t := t.(type) {
	case nil:
	case iptables.Jump:
		e.Add(&Verdict{Kind: VerdictJump, Chain: t.Chain})
	case iptables.Goto:
		e.Add(&Verdict{Kind: VerdictGoto, Chain: t.Chain})
	case iptables.Verdict:
		if kind, ok := verdictKind(t); ok {
			e.Add(&Verdict{Kind: kind})
		} else {
			e.Fail(fmt.Errorf("there is no verdict %q", t))
		}
	case iptables.UnknownTarget:
		return e.Unknown(t.Kept)
	default:
		return false
	}
	return true
}

func verdictKind(v iptables.Verdict) (kind VerdictKind, ok bool) {
	switch v {
	case iptables.Accept:
		return VerdictAccept, true
	case iptables.Drop:
		return VerdictDrop, true
	case iptables.Return:
		return VerdictReturn, true
	}
	return 0, false
}

// CompareOp returns the operator for a match or its negation.
func CompareOp(not bool) CmpOp {
	if not {
		return unix.NFT_CMP_NEQ
	}
	return unix.NFT_CMP_EQ
}
