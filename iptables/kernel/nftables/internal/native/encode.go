package native

import (
	"encoding/binary"
	"fmt"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
	"golang.org/x/sys/unix"
)

// encoder writes the expressions of one rule.
type encoder struct {
	*expression.Encoder
	// newSet adds an anonymous set and returns its number in the batch.
	newSet func(iptables.Set) uint32
	// guardFor is the family still to be matched, or anyFamily.
	guardFor iptables.Family
	// family is that of the rule, or anyFamily.
	family iptables.Family
}

// encode appends a rule in nf_tables' own expressions, as nft writes them. An address
// needs the family: it is matched right before the first address, and nft lists only the
// address. Without an address, the family comes first.
func encode(to *expression.Encoder, r rule, newSet func(iptables.Set) uint32) {
	e := encoder{to, newSet, r.family, r.family}
	if !asksForAddress(&r.rule) {
		e.guard()
	}
	e.Interfaces(r.rule.In, r.rule.Out)
	if hasOwnAddress(&r.rule) {
		e.guard()
	}
	e.Addresses(r.family, r.rule.Source, r.rule.Destination)
	e.Protocol(r.rule.Protocol)
	for _, m := range r.rule.Matches {
		e.match(m)
	}
	e.Add(&expression.Counter{})
	e.target(r.family, r.rule.Target)
}

// guard matches the family, once.
func (e *encoder) guard() {
	if e.guardFor == anyFamily {
		return
	}
	e.Add(
		&expression.Meta{Key: unix.NFT_META_NFPROTO, Register: register},
		&expression.Cmp{Op: unix.NFT_CMP_EQ, Register: register, Data: []byte{tables.Number(e.guardFor)}},
	)
	e.guardFor = anyFamily
}

func (e *encoder) match(m iptables.Match) {
	if isOfAddress(m) {
		e.guard()
	}
	switch m := m.(type) {
	case iptables.Set:
		e.lookup(m)
		return
	case iptables.Ports:
		if m.Flags != (iptables.TCPFlags{}) {
			break
		}
		e.Ports(m)
		return
	case iptables.NamedSet:
		e.namedSet(m)
		return
	case iptables.Owner:
		e.owner(m)
		return
	case iptables.Conntrack:
		e.state(m)
		return
	case iptables.Mark:
		e.Add(&expression.Meta{Key: unix.NFT_META_MARK, Register: register})
		e.masked(m.Value, m.Mask, m.Not)
		return
	case iptables.Connmark:
		e.Add(&expression.Ct{Key: unix.NFT_CT_MARK, Register: register})
		e.masked(m.Value, m.Mask, m.Not)
		return
	case iptables.UnknownMatch:
		if e.Unknown(m.Kept) {
			return
		}
	}
	e.Fail(fmt.Errorf("the match %s has no native form", iptables.Rule{Matches: []iptables.Match{m}}))
}

func (e *encoder) owner(m iptables.Owner) {
	if m.Socket {
		// A packet without a socket has no user, and ends the rule (nft_meta_get_eval_skugid
		// in net/netfilter/nft_meta.c).
		e.Add(&expression.Meta{Key: unix.NFT_META_SKUID, Register: register})
		e.networkOrder()
		e.Add(&expression.Cmp{Op: unix.NFT_CMP_GTE, Register: register, Data: native32(0)})
	}
	for _, id := range []struct {
		key expression.MetaKey
		iptables.IDMatch
	}{{unix.NFT_META_SKUID, m.UID}, {unix.NFT_META_SKGID, m.GID}} {
		switch {
		case !id.Set:
			continue
		case id.Not:
			e.Fail(notAskable(m))
			return
		}
		e.Add(&expression.Meta{Key: id.key, Register: register})
		if id.First == id.Last {
			e.Add(&expression.Cmp{Op: unix.NFT_CMP_EQ, Register: register, Data: native32(id.First)})
			continue
		}
		e.networkOrder()
		e.Within(iptables.IDInterval(id.First, id.Last), false)
	}
}

func notAskable(m iptables.Match) error {
	return fmt.Errorf("the native form cannot negate a user or a group (%s)", iptables.Rule{Matches: []iptables.Match{m}})
}

// networkOrder makes values comparable byte by byte.
func (e *encoder) networkOrder() {
	e.Add(&expression.Byteorder{SourceRegister: register, DestRegister: register, Op: unix.NFT_BYTEORDER_HTON, Len: 4, Size: 4})
}

// state compares with the bits of enum nft_ct_keys' NFT_CT_STATE, which are those
// of the match conntrack but for UNTRACKED (nf_conntrack_common.h).
func (e *encoder) state(m iptables.Conntrack) {
	var bits uint32
	for _, s := range ctStates {
		if m.States&s.state != 0 {
			bits |= s.bit
		}
	}
	e.Add(
		&expression.Ct{Key: unix.NFT_CT_STATE, Register: register},
		&expression.Bitwise{SourceRegister: register, DestRegister: register, Len: 4, Mask: native32(bits), Xor: native32(0)},
		&expression.Cmp{Op: expression.CompareOp(!m.Not), Register: register, Data: native32(0)},
	)
}

// ctStates gives NF_CT_STATE_INVALID_BIT, NF_CT_STATE_BIT and
// NF_CT_STATE_UNTRACKED_BIT (linux/netfilter/nf_conntrack_common.h).
var ctStates = [...]struct {
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
func (e *encoder) masked(value, mask uint32, not bool) {
	if mask != iptables.FullMask {
		e.bitwise(mask, 0)
	}
	e.Add(&expression.Cmp{Op: expression.CompareOp(not), Register: register, Data: native32(value)})
}

func (e *encoder) bitwise(mask, xor uint32) {
	e.Add(&expression.Bitwise{SourceRegister: register, DestRegister: register, Len: 4, Mask: native32(mask), Xor: native32(xor)})
}

func native32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
