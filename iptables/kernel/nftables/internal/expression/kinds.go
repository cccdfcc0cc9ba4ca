package expression

import "golang.org/x/sys/unix"

// Any is an expression to be written: a pointer to one of the types below.
type Any any

// The fields of expressions are the attributes of the same name in
// linux/netfilter/nf_tables.h. A register is NFT_REG_*.
type (
	// Meta loads what the kernel knows about a packet, or with SourceRegister sets it.
	Meta struct {
		Key            MetaKey
		SourceRegister bool
		Register       uint32
	}
	// Ct loads what conntrack knows about it, or with SourceRegister sets it.
	Ct struct {
		Key            CtKey
		SourceRegister bool
		Register       uint32
	}
	// Payload loads Len bytes of a header.
	Payload struct {
		DestRegister uint32
		Base         PayloadBase
		Offset, Len  uint32
	}
	// Bitwise computes ( source & Mask ) ^ Xor.
	Bitwise struct {
		SourceRegister, DestRegister uint32
		Len                          uint32
		Mask, Xor                    []byte
	}
	// Byteorder converts numbers of Size bytes.
	Byteorder struct {
		SourceRegister, DestRegister uint32
		Op                           uint32 // NFT_BYTEORDER_*
		Len, Size                    uint32
	}
	// Cmp goes on if the register compares so with the data.
	Cmp struct {
		Op       CmpOp
		Register uint32
		Data     []byte
	}
	// Range goes on if the register is in the interval, or with NFT_CMP_NEQ if it is not.
	Range struct {
		Op               CmpOp
		Register         uint32
		FromData, ToData []byte
	}
	// Lookup goes on if the register is in the set, or with Invert if it is not.
	Lookup struct {
		SourceRegister uint32
		SetName        string
		SetID          uint32
		Invert         bool
	}
	// Counter counts packets.
	Counter struct{ Packets, Bytes uint64 }
	// Immediate loads data.
	Immediate struct {
		Register uint32
		Data     []byte
	}
	// Verdict ends the rule.
	Verdict struct {
		Kind  VerdictKind
		Chain string
	}
	// Redir redirects to the ports in the registers, or to the port that the packet has.
	Redir struct{ RegisterProtoMin, RegisterProtoMax, Flags uint32 }
	// NAT changes an address.
	NAT struct {
		Type                   uint32 // NFT_NAT_*
		Family                 uint32
		RegAddrMin, RegAddrMax uint32
	}
	// TProxy hands the packet to a local socket.
	TProxy struct {
		Family           byte
		RegAddr, RegPort uint32
	}
)

type (
	// MetaKey is one of NFT_META_*.
	MetaKey uint32
	// CtKey is one of NFT_CT_*.
	CtKey uint32
	// PayloadBase is one of NFT_PAYLOAD_*_HEADER.
	PayloadBase uint32
	// CmpOp is one of NFT_CMP_*. NFT_RANGE_* begin alike.
	CmpOp uint32
	// VerdictKind is a verdict of netfilter (linux/netfilter.h), or one of enum nft_verdicts.
	VerdictKind int32
)

// The verdicts.
const (
	VerdictDrop     VerdictKind = 0
	VerdictAccept   VerdictKind = 1
	VerdictContinue VerdictKind = unix.NFT_CONTINUE
	VerdictJump     VerdictKind = unix.NFT_JUMP
	VerdictGoto     VerdictKind = unix.NFT_GOTO
	VerdictReturn   VerdictKind = unix.NFT_RETURN
)

// From enum nft_tproxy_attributes.
const (
	TProxyFamily  = 1
	TProxyAddress = 2
	TProxyPort    = 3
)
