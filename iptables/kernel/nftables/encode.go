package nftables

import (
	"fmt"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/netlink"
	"golang.org/x/sys/unix"
)

// register is the one that iptables-nft loads everything into.
const register = unix.NFT_REG_1

// encodedRule is a rule as the kernel takes it.
type encodedRule struct {
	exprs netlink.Builder // NFTA_RULE_EXPRESSIONS
	// protocol and protocolNot are NFTA_RULE_COMPAT: extensions such as tcp
	// and TPROXY ask whether the rule is limited to a protocol, and nft_compat
	// cannot see it from the other expressions.
	protocol    byte
	protocolNot bool

	family iptables.Family
	err    error // the first expression that could not be written
}

// encodeRule returns the expressions that iptables-nft 1.8 writes for a rule,
// in its order (nft_ipv4_add in iptables/nft-ipv4.c): interfaces, protocol and
// addresses native, every other match and target by nft_compat.
func encodeRule(family iptables.Family, r *iptables.Rule) (encodedRule, error) {
	e := encodedRule{family: family}
	e.iface(expr.MetaKeyIIFNAME, r.In)
	e.iface(expr.MetaKeyOIFNAME, r.Out)
	if err := e.l4proto(r.Protocol); err != nil {
		return e, err
	}
	if err := e.address(sourceOf(family), r.Source); err != nil {
		return e, err
	}
	if err := e.address(destinationOf(family), r.Destination); err != nil {
		return e, err
	}
	for _, m := range r.Matches {
		if err := e.match(m); err != nil {
			return e, err
		}
	}
	e.add(&expr.Counter{})
	if err := e.target(r.Target); err != nil {
		return e, err
	}
	return e, e.err
}

func (e *encodedRule) add(exprs ...expr.Any) {
	for _, x := range exprs {
		data, err := expr.Marshal(familyNumber(e.family), x)
		if err != nil && e.err == nil {
			e.err = err
		}
		e.exprs.PutBytes(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, data)
	}
}

// addRaw adds a native expression as decoding found it.
func (e *encodedRule) addRaw(x expression) {
	e.exprs.Nest(unix.NFTA_LIST_ELEM, func() {
		e.exprs.PutString(unix.NFTA_EXPR_NAME, x.name)
		e.exprs.PutBytes(unix.NFTA_EXPR_DATA|unix.NLA_F_NESTED, x.data)
	})
}

func (e *encodedRule) match(m iptables.Match) error {
	if m, ok := m.(iptables.UnknownMatch); ok {
		if x, ok := rawExpression(m.Name, m.Args); ok {
			e.addRaw(x)
			return nil
		}
	}
	x, err := encodeMatch(m)
	if err == nil {
		e.add(&expr.Match{Name: x.name, Rev: x.revision, Info: xtInfo(x)})
	}
	return err
}

// impossibleInterface is what iptables compares with for "! -i +", which no
// packet meets. No interface can have the name, because of the slash.
const impossibleInterface = "INVAL/D"

// iface compares the name with its NUL, or without it where a "+" stands for any
// rest.
func (e *encodedRule) iface(key expr.MetaKey, i iptables.Interface) {
	if i.Name == "" || i.Name == "+" && !i.Not {
		return
	}
	op, name := compareOp(i.Not), i.Name+"\x00"
	if last := len(i.Name) - 1; i.Name == "+" {
		op, name = expr.CmpOpEq, impossibleInterface+"\x00"
	} else if i.Name[last] == '+' {
		name = i.Name[:last]
	}
	e.add(
		&expr.Meta{Key: key, Register: register},
		&expr.Cmp{Op: op, Register: register, Data: []byte(name)},
	)
}

func (e *encodedRule) l4proto(p iptables.ProtocolMatch) (err error) {
	if p == (iptables.ProtocolMatch{}) {
		return nil
	}
	if e.protocol, err = protocolNumber(p.Protocol); err != nil {
		return err
	}
	e.protocolNot = p.Not
	e.add(
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register},
		&expr.Cmp{Op: compareOp(p.Not), Register: register, Data: []byte{e.protocol}},
	)
	return nil
}

// field is an address in the network header.
type field struct {
	family iptables.Family
	offset uint32
	size   int
}

// sourceOf and destinationOf follow struct iphdr (linux/ip.h) and struct ipv6hdr
// (linux/ipv6.h).
func sourceOf(family iptables.Family) field {
	if family == iptables.IPv6 {
		return field{family, 8, 16}
	}
	return field{family, 12, 4}
}

func destinationOf(family iptables.Family) field {
	f := sourceOf(family)
	f.offset += uint32(f.size)
	return f
}

// address loads only the bytes that a prefix covers if it ends between two, and
// masks all of them otherwise.
func (e *encodedRule) address(f field, a iptables.Address) error {
	if a == (iptables.Address{}) {
		return nil
	}
	if iptables.FamilyOf(a.Prefix.Addr()) != f.family {
		return fmt.Errorf("%s is no address of %s", a.Prefix, f.family)
	}
	bits, data := a.Prefix.Bits(), a.Prefix.Masked().Addr().AsSlice()
	switch {
	case bits < 0 || bits == 0 && a.Not:
		// iptables itself fails at "! -s 0.0.0.0/0".
		return fmt.Errorf("the address %s cannot be matched", a.Prefix)
	case bits == 0:
		return nil
	case bits%8 == 0:
		data = data[:bits/8]
	}
	e.add(&expr.Payload{
		DestRegister: register, Base: expr.PayloadBaseNetworkHeader,
		Offset: f.offset, Len: uint32(len(data)),
	})
	if bits%8 != 0 {
		e.add(&expr.Bitwise{
			SourceRegister: register, DestRegister: register,
			Len: uint32(f.size), Mask: prefixMask(bits, f.size), Xor: make([]byte, f.size),
		})
	}
	e.add(&expr.Cmp{Op: compareOp(a.Not), Register: register, Data: data})
	return nil
}

func prefixMask(bits, size int) []byte {
	mask := make([]byte, size)
	for i := range mask {
		switch rest := bits - 8*i; {
		case rest >= 8:
			mask[i] = 0xff
		case rest > 0:
			mask[i] = ^byte(0xff >> rest)
		}
	}
	return mask
}

func (e *encodedRule) target(t iptables.Target) error {
	switch t := t.(type) {
	case nil:
		return nil
	case iptables.Jump:
		e.add(&expr.Verdict{Kind: expr.VerdictJump, Chain: t.Chain})
		return nil
	case iptables.Goto:
		e.add(&expr.Verdict{Kind: expr.VerdictGoto, Chain: t.Chain})
		return nil
	case iptables.Verdict:
		kind, ok := verdictKind(t)
		if !ok {
			return fmt.Errorf("there is no verdict %q", t)
		}
		e.add(&expr.Verdict{Kind: kind})
		return nil
	case iptables.UnknownTarget:
		if x, ok := rawExpression(t.Name, t.Args); ok {
			e.addRaw(x)
			return nil
		}
	}
	x, err := encodeTarget(e.family, t)
	if err == nil {
		e.add(&expr.Target{Name: x.name, Rev: x.revision, Info: xtInfo(x)})
	}
	return err
}

func verdictKind(v iptables.Verdict) (kind expr.VerdictKind, ok bool) {
	switch v {
	case iptables.Accept:
		return expr.VerdictAccept, true
	case iptables.Drop:
		return expr.VerdictDrop, true
	case iptables.Return:
		return expr.VerdictReturn, true
	}
	return 0, false
}

func compareOp(not bool) expr.CmpOp {
	if not {
		return expr.CmpOpNeq
	}
	return expr.CmpOpEq
}

func xtInfo(x extension) xt.InfoAny {
	info := xt.Unknown(x.info)
	return &info
}

// familyNumber is the nf_tables family of the tables that iptables uses, and of
// the native one.
func familyNumber(f iptables.Family) byte {
	switch f {
	case inet:
		return unix.NFPROTO_INET
	case iptables.IPv6:
		return unix.NFPROTO_IPV6
	}
	return unix.NFPROTO_IPV4
}
