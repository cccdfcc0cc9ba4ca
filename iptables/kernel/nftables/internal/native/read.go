package native

import (
	"encoding/binary"

	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
	"golang.org/x/sys/unix"
)

// The readers in this file are for expressions that only the native form has. Like the
// shared ones they refuse every attribute that they do not know.

// readNumbers reads attributes that are all 32-bit numbers, with types below size.
func readNumbers(e expression.Expression, name string, size int) (values []uint32, ok bool) {
	if e.Name != name {
		return nil, false
	}
	values = make([]uint32, size)
	for kind, value := range netlink.Attributes(e.Data) {
		if int(kind) >= size {
			return nil, false
		}
		values[kind] = netlink.ReadUint32(value)
	}
	return values, true
}

// isSetMeta reads "meta set key with reg" (enum nft_meta_attributes).
func isSetMeta(e expression.Expression, key expression.MetaKey, register uint32) bool {
	v, ok := readNumbers(e, "meta", unix.NFTA_META_SREG+1)
	return ok && v[unix.NFTA_META_KEY] == uint32(key) && v[unix.NFTA_META_SREG] == register && v[unix.NFTA_META_DREG] == 0
}

// readCt reads "ct load key => reg" and "ct set key with reg" (enum nft_ct_attributes).
// An unused register is 0.
func readCt(e expression.Expression) (key expression.CtKey, load, set uint32, ok bool) {
	v, ok := readNumbers(e, "ct", unix.NFTA_CT_SREG+1)
	if !ok || v[unix.NFTA_CT_DIRECTION] != 0 {
		return 0, 0, 0, false
	}
	return expression.CtKey(v[unix.NFTA_CT_KEY]), v[unix.NFTA_CT_DREG], v[unix.NFTA_CT_SREG], true
}

// isToNetworkOrder reads "byteorder reg = hton(reg, 4, 4)" (enum
// nft_byteorder_attributes).
func isToNetworkOrder(e expression.Expression, register uint32) bool {
	v, ok := readNumbers(e, "byteorder", unix.NFTA_BYTEORDER_SIZE+1)
	return ok && v[unix.NFTA_BYTEORDER_SREG] == register && v[unix.NFTA_BYTEORDER_DREG] == register &&
		v[unix.NFTA_BYTEORDER_OP] == unix.NFT_BYTEORDER_HTON &&
		v[unix.NFTA_BYTEORDER_LEN] == 4 && v[unix.NFTA_BYTEORDER_SIZE] == 4
}

// readLookup reads "lookup reg set name" (enum nft_lookup_attributes).
func readLookup(e expression.Expression, register uint32) (set string, not, ok bool) {
	if e.Name != "lookup" {
		return "", false, false
	}
	var from, flags uint32
	for kind, value := range netlink.Attributes(e.Data) {
		switch kind {
		case unix.NFTA_LOOKUP_SET:
			set = netlink.ReadString(value)
		case unix.NFTA_LOOKUP_SET_ID:
		case unix.NFTA_LOOKUP_SREG:
			from = netlink.ReadUint32(value)
		case unix.NFTA_LOOKUP_FLAGS:
			flags = netlink.ReadUint32(value)
		default:
			return "", false, false
		}
	}
	return set, flags == unix.NFT_LOOKUP_F_INV, from == register && flags&^unix.NFT_LOOKUP_F_INV == 0
}

// readImmediate reads "immediate reg data" (enum nft_immediate_attributes).
func readImmediate(e expression.Expression) (register uint32, data []byte, ok bool) {
	if e.Name != "immediate" {
		return 0, nil, false
	}
	for kind, value := range netlink.Attributes(e.Data) {
		switch kind {
		case unix.NFTA_IMMEDIATE_DREG:
			register = netlink.ReadUint32(value)
		case unix.NFTA_IMMEDIATE_DATA:
			data = expression.ReadData(value)
		default:
			return 0, nil, false
		}
	}
	return register, data, register != unix.NFT_REG_VERDICT && len(data) > 0
}

// readMasked reads "bitwise reg = ( reg & mask ) ^ xor" of 32 bits.
func readMasked(e expression.Expression, register uint32) (mask, xor uint32, ok bool) {
	b, ok := e.Bitwise()
	if !ok || b.SourceRegister != register || b.DestRegister != register || len(b.Mask) != 4 || len(b.Xor) != 4 {
		return 0, 0, false
	}
	return binary.NativeEndian.Uint32(b.Mask), binary.NativeEndian.Uint32(b.Xor), true
}

// readRedir reads "redir proto_min reg proto_max reg flags" (enum nft_redir_attributes).
// Missing registers are 0.
func readRedir(e expression.Expression) (first, last uint32, ok bool) {
	v, ok := readNumbers(e, "redir", unix.NFTA_REDIR_FLAGS+1)
	if !ok || v[unix.NFTA_REDIR_FLAGS]&^unix.NF_NAT_RANGE_PROTO_SPECIFIED != 0 {
		return 0, 0, false
	}
	first, last = v[unix.NFTA_REDIR_REG_PROTO_MIN], v[unix.NFTA_REDIR_REG_PROTO_MAX]
	if last == 0 {
		last = first
	}
	return first, last, true
}

// readAtLeast reads "cmp gte reg data" of 32 bits (enum nft_cmp_attributes).
func readAtLeast(e expression.Expression, register uint32) (data []byte, ok bool) {
	if e.Name != "cmp" {
		return nil, false
	}
	var from, op uint32
	for kind, value := range netlink.Attributes(e.Data) {
		switch kind {
		case unix.NFTA_CMP_SREG:
			from = netlink.ReadUint32(value)
		case unix.NFTA_CMP_OP:
			op = netlink.ReadUint32(value)
		case unix.NFTA_CMP_DATA:
			data = expression.ReadData(value)
		default:
			return nil, false
		}
	}
	return data, from == register && op == unix.NFT_CMP_GTE && len(data) == 4
}

// natMapAddresses is NF_NAT_RANGE_MAP_IPS, which the kernel adds.
const natMapAddresses = 1 << 0

// readSNAT reads "nat snat family addr_min reg addr_max reg" (enum nft_nat_attributes).
// Missing registers are 0.
func readSNAT(e expression.Expression) (family byte, first, last uint32, ok bool) {
	v, ok := readNumbers(e, "nat", unix.NFTA_NAT_FLAGS+1)
	if !ok || v[unix.NFTA_NAT_TYPE] != unix.NFT_NAT_SNAT || v[unix.NFTA_NAT_REG_PROTO_MIN] != 0 || v[unix.NFTA_NAT_FLAGS]&^natMapAddresses != 0 {
		return 0, 0, 0, false
	}
	return byte(v[unix.NFTA_NAT_FAMILY]), v[unix.NFTA_NAT_REG_ADDR_MIN], v[unix.NFTA_NAT_REG_ADDR_MAX], true
}

// readTProxy reads "tproxy addr reg port reg" (enum nft_tproxy_attributes).
func readTProxy(e expression.Expression) (family byte, address, port uint32, ok bool) {
	v, ok := readNumbers(e, "tproxy", expression.TProxyPort+1)
	if !ok || v[expression.TProxyPort] == 0 {
		return 0, 0, 0, false
	}
	return byte(v[expression.TProxyFamily]), v[expression.TProxyAddress], v[expression.TProxyPort], true
}
