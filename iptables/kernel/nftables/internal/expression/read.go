package expression

import (
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"golang.org/x/sys/unix"
)

// Meta reads "meta load key => reg" (enum nft_meta_attributes).
func (e Expression) Meta() (key MetaKey, register uint32, ok bool) {
	if e.Name != "meta" {
		return 0, 0, false
	}
	for kind, value := range netlink.Attributes(e.Data) {
		switch kind {
		case unix.NFTA_META_KEY:
			key = MetaKey(netlink.ReadUint32(value))
		case unix.NFTA_META_DREG:
			register = netlink.ReadUint32(value)
		default:
			return 0, 0, false
		}
	}
	return key, register, register != 0
}

// Payload reads "payload load len @ base + offset => reg" (enum
// nft_payload_attributes).
func (e Expression) Payload() (p Payload, ok bool) {
	if e.Name != "payload" {
		return p, false
	}
	for kind, value := range netlink.Attributes(e.Data) {
		switch v := netlink.ReadUint32(value); kind {
		case unix.NFTA_PAYLOAD_DREG:
			p.DestRegister = v
		case unix.NFTA_PAYLOAD_BASE:
			p.Base = PayloadBase(v)
		case unix.NFTA_PAYLOAD_OFFSET:
			p.Offset = v
		case unix.NFTA_PAYLOAD_LEN:
			p.Len = v
		default:
			return p, false
		}
	}
	return p, p.DestRegister != 0
}

// bitwiseOp is NFTA_BITWISE_OP, which golang.org/x/sys does not have.
const bitwiseOp = 6

// Bitwise reads "bitwise to = ( from & mask ) ^ xor" (enum
// nft_bitwise_attributes).
func (e Expression) Bitwise() (b Bitwise, ok bool) {
	if e.Name != "bitwise" {
		return b, false
	}
	for kind, value := range netlink.Attributes(e.Data) {
		switch kind {
		case unix.NFTA_BITWISE_SREG:
			b.SourceRegister = netlink.ReadUint32(value)
		case unix.NFTA_BITWISE_DREG:
			b.DestRegister = netlink.ReadUint32(value)
		case unix.NFTA_BITWISE_LEN:
		case unix.NFTA_BITWISE_MASK:
			b.Mask = ReadData(value)
		case unix.NFTA_BITWISE_XOR:
			b.Xor = ReadData(value)
		case bitwiseOp:
			if netlink.ReadUint32(value) != unix.NFT_BITWISE_BOOL {
				return b, false
			}
		default:
			return b, false
		}
	}
	return b, b.DestRegister != 0
}

// Compare reads "cmp eq reg data" and "cmp neq reg data".
func (e Expression) Compare(register uint32) (data []byte, not, ok bool) {
	op, data, ok := e.compare(register)
	return data, op == unix.NFT_CMP_NEQ, ok && (op == unix.NFT_CMP_EQ || op == unix.NFT_CMP_NEQ)
}

// compare reads "cmp op reg data" (enum nft_cmp_attributes).
func (e Expression) compare(register uint32) (op CmpOp, data []byte, ok bool) {
	if e.Name != "cmp" {
		return 0, nil, false
	}
	// An expression without an operator is not "eq", which is 0.
	op = unix.NFT_CMP_LT
	from := uint32(0)
	for kind, value := range netlink.Attributes(e.Data) {
		switch kind {
		case unix.NFTA_CMP_SREG:
			from = netlink.ReadUint32(value)
		case unix.NFTA_CMP_OP:
			op = CmpOp(netlink.ReadUint32(value))
		case unix.NFTA_CMP_DATA:
			data = ReadData(value)
		default:
			return 0, nil, false
		}
	}
	return op, data, from == register
}

// between reads a comparison with an interval from the front of a list, n expressions:
// one "range", or as nft writes it, "cmp gte" and "cmp lte" (netlink_gen_range in
// nftables' src/netlink_linearize.c).
func between(list []Expression, register uint32) (first, last []byte, not bool, n int) {
	if len(list) == 0 {
		return nil, nil, false, 0
	}
	if first, last, not, ok := list[0].inRange(register); ok {
		return first, last, not, 1
	}
	if len(list) == 1 {
		return nil, nil, false, 0
	}
	from, first, isFirst := list[0].compare(register)
	to, last, isLast := list[1].compare(register)
	if !isFirst || !isLast || from != unix.NFT_CMP_GTE || to != unix.NFT_CMP_LTE {
		return nil, nil, false, 0
	}
	return first, last, false, 2
}

// inRange reads "range eq reg from to" and "range neq reg from to" (enum
// nft_range_attributes).
func (e Expression) inRange(register uint32) (first, last []byte, not, ok bool) {
	if e.Name != "range" {
		return nil, nil, false, false
	}
	op, from := uint32(unix.NFT_RANGE_EQ), uint32(0)
	for kind, value := range netlink.Attributes(e.Data) {
		switch kind {
		case unix.NFTA_RANGE_SREG:
			from = netlink.ReadUint32(value)
		case unix.NFTA_RANGE_OP:
			op = netlink.ReadUint32(value)
		case unix.NFTA_RANGE_FROM_DATA:
			first = ReadData(value)
		case unix.NFTA_RANGE_TO_DATA:
			last = ReadData(value)
		default:
			return nil, nil, false, false
		}
	}
	known := op == unix.NFT_RANGE_EQ || op == unix.NFT_RANGE_NEQ
	return first, last, op == unix.NFT_RANGE_NEQ, known && from == register
}

// Verdict reads "immediate reg 0 verdict" (enum nft_immediate_attributes).
func (e Expression) Verdict() (v Verdict, ok bool) {
	if e.Name != "immediate" {
		return v, false
	}
	register := uint32(unix.NFT_REG_1)
	for kind, value := range netlink.Attributes(e.Data) {
		switch kind {
		case unix.NFTA_IMMEDIATE_DREG:
			register = netlink.ReadUint32(value)
		case unix.NFTA_IMMEDIATE_DATA:
			v, ok = ReadVerdict(value)
		default:
			return v, false
		}
	}
	return v, ok && register == unix.NFT_REG_VERDICT
}

// ReadVerdict reads NFTA_DATA_VERDICT (enum nft_verdict_attributes).
func ReadVerdict(b []byte) (v Verdict, ok bool) {
	for kind, value := range netlink.Attributes(b) {
		if kind != unix.NFTA_DATA_VERDICT {
			return v, false
		}
		for kind, value := range netlink.Attributes(value) {
			switch kind {
			case unix.NFTA_VERDICT_CODE:
				v.Kind = VerdictKind(int32(netlink.ReadUint32(value)))
				ok = true
			case unix.NFTA_VERDICT_CHAIN:
				v.Chain = netlink.ReadString(value)
			default:
				return v, false
			}
		}
	}
	return v, ok
}

// Counter reads "counter" (enum nft_counter_attributes).
func (e Expression) Counter() (packets, bytes uint64, ok bool) {
	if e.Name != "counter" {
		return 0, 0, false
	}
	packets, bytes = ReadCounter(e.Data)
	return packets, bytes, true
}

// ReadCounter reads NFTA_COUNTER_PACKETS and NFTA_COUNTER_BYTES, which chains have too.
func ReadCounter(b []byte) (packets, bytes uint64) {
	for kind, value := range netlink.Attributes(b) {
		switch kind {
		case unix.NFTA_COUNTER_PACKETS:
			packets = netlink.ReadUint64(value)
		case unix.NFTA_COUNTER_BYTES:
			bytes = netlink.ReadUint64(value)
		}
	}
	return packets, bytes
}
