package expression

import (
	"fmt"
	"reflect"

	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"golang.org/x/sys/unix"
)

// Add appends expressions. None moves to the heap: no other function is given one.
func (e *Encoder) Add(exprs ...Any) {
	b := &e.exprs
	for _, x := range exprs {
		switch x := x.(type) {
		case *Meta:
			e.put("meta", func() {
				b.PutUint32(unix.NFTA_META_KEY, uint32(x.Key))
				b.PutUint32(oneOf(x.SourceRegister, unix.NFTA_META_SREG, unix.NFTA_META_DREG), x.Register)
			})
		case *Ct:
			e.put("ct", func() {
				b.PutUint32(unix.NFTA_CT_KEY, uint32(x.Key))
				b.PutUint32(oneOf(x.SourceRegister, unix.NFTA_CT_SREG, unix.NFTA_CT_DREG), x.Register)
			})
		case *Payload:
			e.put("payload", func() {
				b.PutUint32(unix.NFTA_PAYLOAD_DREG, x.DestRegister)
				b.PutUint32(unix.NFTA_PAYLOAD_BASE, uint32(x.Base))
				b.PutUint32(unix.NFTA_PAYLOAD_OFFSET, x.Offset)
				b.PutUint32(unix.NFTA_PAYLOAD_LEN, x.Len)
			})
		case *Bitwise:
			e.put("bitwise", func() {
				b.PutUint32(unix.NFTA_BITWISE_SREG, x.SourceRegister)
				b.PutUint32(unix.NFTA_BITWISE_DREG, x.DestRegister)
				b.PutUint32(unix.NFTA_BITWISE_LEN, x.Len)
				putData(b, unix.NFTA_BITWISE_MASK, x.Mask)
				putData(b, unix.NFTA_BITWISE_XOR, x.Xor)
			})
		case *Byteorder:
			e.put("byteorder", func() {
				b.PutUint32(unix.NFTA_BYTEORDER_SREG, x.SourceRegister)
				b.PutUint32(unix.NFTA_BYTEORDER_DREG, x.DestRegister)
				b.PutUint32(unix.NFTA_BYTEORDER_OP, uint32(x.Op))
				b.PutUint32(unix.NFTA_BYTEORDER_LEN, x.Len)
				b.PutUint32(unix.NFTA_BYTEORDER_SIZE, x.Size)
			})
		case *Cmp:
			e.put("cmp", func() {
				b.PutUint32(unix.NFTA_CMP_SREG, x.Register)
				b.PutUint32(unix.NFTA_CMP_OP, uint32(x.Op))
				putData(b, unix.NFTA_CMP_DATA, x.Data)
			})
		case *Range:
			e.put("range", func() {
				b.PutUint32(unix.NFTA_RANGE_SREG, x.Register)
				b.PutUint32(unix.NFTA_RANGE_OP, uint32(x.Op))
				putData(b, unix.NFTA_RANGE_FROM_DATA, x.FromData)
				putData(b, unix.NFTA_RANGE_TO_DATA, x.ToData)
			})
		case *Lookup:
			e.put("lookup", func() {
				b.PutUint32(unix.NFTA_LOOKUP_SREG, x.SourceRegister)
				if x.Invert {
					b.PutUint32(unix.NFTA_LOOKUP_FLAGS, unix.NFT_LOOKUP_F_INV)
				}
				b.PutString(unix.NFTA_LOOKUP_SET, x.SetName)
				b.PutUint32(unix.NFTA_LOOKUP_SET_ID, x.SetID)
			})
		case *Counter:
			e.put("counter", func() {
				b.PutUint64(unix.NFTA_COUNTER_BYTES, x.Bytes)
				b.PutUint64(unix.NFTA_COUNTER_PACKETS, x.Packets)
			})
		case *Immediate:
			e.put("immediate", func() {
				b.PutUint32(unix.NFTA_IMMEDIATE_DREG, x.Register)
				putData(b, unix.NFTA_IMMEDIATE_DATA, x.Data)
			})
		case *Verdict:
			e.put("immediate", func() { putVerdict(b, x) })
		case *Redir:
			e.put("redir", func() {
				putIfSet(b, unix.NFTA_REDIR_REG_PROTO_MIN, x.RegisterProtoMin)
				putIfSet(b, unix.NFTA_REDIR_REG_PROTO_MAX, x.RegisterProtoMax)
				putIfSet(b, unix.NFTA_REDIR_FLAGS, x.Flags)
			})
		case *NAT:
			e.put("nat", func() {
				b.PutUint32(unix.NFTA_NAT_TYPE, uint32(x.Type))
				b.PutUint32(unix.NFTA_NAT_FAMILY, x.Family)
				putIfSet(b, unix.NFTA_NAT_REG_ADDR_MIN, x.RegAddrMin)
				putIfSet(b, unix.NFTA_NAT_REG_ADDR_MAX, x.RegAddrMax)
			})
		case *TProxy:
			e.put("tproxy", func() {
				b.PutUint32(TProxyFamily, uint32(x.Family))
				b.PutUint32(TProxyPort, x.RegPort)
				putIfSet(b, TProxyAddress, x.RegAddr)
			})
		default:
			// Printing the value would move every expression to the heap.
			e.Fail(fmt.Errorf("the expression %s cannot be written", reflect.TypeOf(x)))
		}
	}
}

// Extension appends a match or target of xtables, which have the same attributes (enum
// nft_match_attributes, enum nft_target_attributes). kind is "match" or "target".
func (e *Encoder) Extension(kind, name string, revision uint32, info []byte) {
	e.put(kind, func() {
		e.exprs.PutString(unix.NFTA_MATCH_NAME, name)
		e.exprs.PutUint32(unix.NFTA_MATCH_REV, revision)
		e.exprs.PutBytes(unix.NFTA_MATCH_INFO, info)
	})
}

// put appends an expression (enum nft_expr_attributes).
func (e *Encoder) put(name string, attributes func()) {
	e.exprs.Nest(unix.NFTA_LIST_ELEM, func() {
		e.exprs.PutString(unix.NFTA_EXPR_NAME, name)
		e.exprs.Nest(unix.NFTA_EXPR_DATA, attributes)
	})
}

// putData appends a value (enum nft_data_attributes).
func putData(b *netlink.Builder, kind uint16, data []byte) {
	b.Nest(kind, func() { b.PutBytes(unix.NFTA_DATA_VALUE, data) })
}

// putVerdict appends the attributes that [Expression.Verdict] reads.
func putVerdict(b *netlink.Builder, v *Verdict) {
	b.PutUint32(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT)
	b.Nest(unix.NFTA_IMMEDIATE_DATA, func() {
		b.Nest(unix.NFTA_DATA_VERDICT, func() {
			b.PutUint32(unix.NFTA_VERDICT_CODE, uint32(v.Kind))
			if v.Chain != "" {
				b.PutString(unix.NFTA_VERDICT_CHAIN, v.Chain)
			}
		})
	})
}

// putIfSet appends a register or flags, unless they are 0.
func putIfSet(b *netlink.Builder, kind uint16, v uint32) {
	if v != 0 {
		b.PutUint32(kind, v)
	}
}

func oneOf(first bool, a, b uint16) uint16 {
	if first {
		return a
	}
	return b
}
