package nftables

import (
	"bytes"

	"github.com/google/nftables/expr"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/netlink"
	"golang.org/x/sys/unix"
)

// expression is one of a rule, as the kernel hands it out.
//
// The expr package's own parser is not used: it leaves out expressions and
// attributes that it does not know, and a rule read without one of its
// conditions is a rule misread. The readers below refuse what they do not know
// to the last attribute.
type expression struct {
	name string
	data []byte // the attributes of NFTA_EXPR_DATA
}

// appendExpressions reads NFTA_RULE_EXPRESSIONS.
func appendExpressions(list []expression, b []byte) []expression {
	for _, element := range netlink.Attributes(b) {
		var e expression
		for kind, value := range netlink.Attributes(element) {
			switch kind {
			case unix.NFTA_EXPR_NAME:
				e.name = netlink.ReadString(value)
			case unix.NFTA_EXPR_DATA:
				e.data = value
			}
		}
		list = append(list, e)
	}
	return list
}

// meta reads "meta load key => reg" (enum nft_meta_attributes).
func (e expression) meta() (key expr.MetaKey, register uint32, ok bool) {
	if e.name != "meta" {
		return 0, 0, false
	}
	for kind, value := range netlink.Attributes(e.data) {
		switch kind {
		case unix.NFTA_META_KEY:
			key = expr.MetaKey(netlink.ReadUint32(value))
		case unix.NFTA_META_DREG:
			register = netlink.ReadUint32(value)
		default:
			return 0, 0, false
		}
	}
	return key, register, register != 0
}

// payload reads "payload load len @ base + offset => reg" (enum
// nft_payload_attributes).
func (e expression) payload() (p expr.Payload, ok bool) {
	if e.name != "payload" {
		return p, false
	}
	for kind, value := range netlink.Attributes(e.data) {
		switch v := netlink.ReadUint32(value); kind {
		case unix.NFTA_PAYLOAD_DREG:
			p.DestRegister = v
		case unix.NFTA_PAYLOAD_BASE:
			p.Base = expr.PayloadBase(v)
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

// bitwiseOp is NFTA_BITWISE_OP, which golang.org/x/sys does not have; its value
// 0 is NFT_BITWISE_BOOL, "mask and xor" (linux/netfilter/nf_tables.h).
const bitwiseOp = 6

// mask reads "bitwise reg = ( reg & mask ) ^ 0" (enum nft_bitwise_attributes).
func (e expression) mask(register uint32) (mask []byte, to uint32, ok bool) {
	if e.name != "bitwise" {
		return nil, 0, false
	}
	var from uint32
	for kind, value := range netlink.Attributes(e.data) {
		switch kind {
		case unix.NFTA_BITWISE_SREG:
			from = netlink.ReadUint32(value)
		case unix.NFTA_BITWISE_DREG:
			to = netlink.ReadUint32(value)
		case unix.NFTA_BITWISE_LEN:
		case unix.NFTA_BITWISE_MASK:
			mask = readData(value)
		case unix.NFTA_BITWISE_XOR:
			if len(bytes.Trim(readData(value), "\x00")) > 0 {
				return nil, 0, false
			}
		case bitwiseOp:
			if netlink.ReadUint32(value) != 0 {
				return nil, 0, false
			}
		default:
			return nil, 0, false
		}
	}
	return mask, to, from == register && to != 0
}

// compare reads "cmp eq reg data" and "cmp neq reg data" (enum
// nft_cmp_attributes).
func (e expression) compare(register uint32) (data []byte, not, ok bool) {
	if e.name != "cmp" {
		return nil, false, false
	}
	op, from := expr.CmpOpLt, uint32(0)
	for kind, value := range netlink.Attributes(e.data) {
		switch kind {
		case unix.NFTA_CMP_SREG:
			from = netlink.ReadUint32(value)
		case unix.NFTA_CMP_OP:
			op = expr.CmpOp(netlink.ReadUint32(value))
		case unix.NFTA_CMP_DATA:
			data = readData(value)
		default:
			return nil, false, false
		}
	}
	known := op == expr.CmpOpEq || op == expr.CmpOpNeq
	return data, op == expr.CmpOpNeq, known && from == register
}

// between reads "range eq reg from to" and "range neq reg from to" (enum
// nft_range_attributes).
func (e expression) between(register uint32) (first, last []byte, not, ok bool) {
	if e.name != "range" {
		return nil, nil, false, false
	}
	op, from := uint32(unix.NFT_RANGE_EQ), uint32(0)
	for kind, value := range netlink.Attributes(e.data) {
		switch kind {
		case unix.NFTA_RANGE_SREG:
			from = netlink.ReadUint32(value)
		case unix.NFTA_RANGE_OP:
			op = netlink.ReadUint32(value)
		case unix.NFTA_RANGE_FROM_DATA:
			first = readData(value)
		case unix.NFTA_RANGE_TO_DATA:
			last = readData(value)
		default:
			return nil, nil, false, false
		}
	}
	known := op == unix.NFT_RANGE_EQ || op == unix.NFT_RANGE_NEQ
	return first, last, op == unix.NFT_RANGE_NEQ, known && from == register
}

// readData reads NFTA_DATA_VALUE.
func readData(b []byte) (data []byte) {
	for kind, value := range netlink.Attributes(b) {
		if kind == unix.NFTA_DATA_VALUE {
			data = value
		}
	}
	return data
}

// verdict reads "immediate reg 0 verdict" (enum nft_immediate_attributes).
func (e expression) verdict() (v expr.Verdict, ok bool) {
	if e.name != "immediate" {
		return v, false
	}
	register := uint32(unix.NFT_REG_1)
	for kind, value := range netlink.Attributes(e.data) {
		switch kind {
		case unix.NFTA_IMMEDIATE_DREG:
			register = netlink.ReadUint32(value)
		case unix.NFTA_IMMEDIATE_DATA:
			v, ok = readVerdict(value)
		default:
			return v, false
		}
	}
	return v, ok && register == unix.NFT_REG_VERDICT
}

// readVerdict reads NFTA_DATA_VERDICT (enum nft_verdict_attributes).
func readVerdict(b []byte) (v expr.Verdict, ok bool) {
	for kind, value := range netlink.Attributes(b) {
		if kind != unix.NFTA_DATA_VERDICT {
			return v, false
		}
		for kind, value := range netlink.Attributes(value) {
			switch kind {
			case unix.NFTA_VERDICT_CODE:
				v.Kind = expr.VerdictKind(int32(netlink.ReadUint32(value)))
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

// counter reads "counter" (enum nft_counter_attributes).
func (e expression) counter() (packets, bytes uint64, ok bool) {
	if e.name != "counter" {
		return 0, 0, false
	}
	packets, bytes = readCounter(e.data)
	return packets, bytes, true
}

// readCounter reads NFTA_COUNTER_PACKETS and NFTA_COUNTER_BYTES, which chains
// carry too.
func readCounter(b []byte) (packets, bytes uint64) {
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

// extension reads "match" and "target" (enum nft_match_attributes, enum
// nft_target_attributes, which are alike).
func (e expression) extension() (x extension, ok bool) {
	if e.name != "match" && e.name != "target" {
		return x, false
	}
	for kind, value := range netlink.Attributes(e.data) {
		switch kind {
		case unix.NFTA_MATCH_NAME:
			x.name = netlink.ReadString(value)
		case unix.NFTA_MATCH_REV:
			x.revision = netlink.ReadUint32(value)
		case unix.NFTA_MATCH_INFO:
			x.info = value
		default:
			return x, false
		}
	}
	return x, x.name != ""
}
