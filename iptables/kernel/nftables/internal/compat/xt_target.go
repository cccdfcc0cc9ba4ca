package compat

import (
	"fmt"
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
	"golang.org/x/sys/unix"
)

// encodeRedirect writes, from linux/netfilter/nf_nat.h, for IPv4
//
//	struct nf_nat_ipv4_multi_range_compat {
//		unsigned int rangesize; // 1
//		struct nf_nat_ipv4_range { unsigned int flags; __be32 min_ip, max_ip; __be16 min, max; } range[1];
//	}
//
// and for IPv6
//
//	struct nf_nat_range { unsigned int flags; union nf_inet_addr min_addr, max_addr; __be16 min_proto, max_proto; }
func encodeRedirect(family iptables.Family, t iptables.Redirect) extension {
	var flags uint32
	if t.Ports != (iptables.PortRange{}) {
		flags = unix.NF_NAT_RANGE_PROTO_SPECIFIED
	}
	s := structure{}
	if family == iptables.IPv4 {
		s = s.u32(1, flags).zeros(2 * 4)
	} else {
		s = s.u32(flags).zeros(2 * 16)
	}
	return newExtension("REDIRECT", 0, s.be16(t.Ports.First, t.Ports.Last))
}

func decodeRedirect(family iptables.Family, f fields) iptables.Target {
	offset := 16
	if family == iptables.IPv6 {
		offset = 36
	}
	return iptables.Redirect{Ports: iptables.PortRange{First: f.be16(offset), Last: f.be16(offset + 2)}}
}

// encodeTProxy writes, from linux/netfilter/xt_TPROXY.h,
//
//	struct xt_tproxy_target_info_v1 {
//		__u32 mark_mask, mark_value;
//		union nf_inet_addr laddr; // 16 bytes, of which IPv4 takes the first 4
//		__be16 lport;
//	}
func encodeTProxy(family iptables.Family, t iptables.TProxy) (extension, error) {
	if iptables.FamilyOf(t.IP) != family {
		return extension{}, fmt.Errorf("TPROXY to %s in an %s table", t.IP, family)
	}
	var address [16]byte
	copy(address[:], t.IP.AsSlice())
	s := structure{}.u32(t.Mask, t.Mark).u8(address[:]...).be16(t.Port)
	return newExtension("TPROXY", 1, s), nil
}

func decodeTProxy(family iptables.Family, f fields) iptables.Target {
	size := 16
	if family == iptables.IPv4 {
		size = 4
	}
	if len(f) < 8+size {
		return nil
	}
	ip, _ := netip.AddrFromSlice(f[8 : 8+size])
	return iptables.TProxy{Port: f.be16(24), IP: ip, Mark: f.u32(4), Mask: f.u32(0)}
}

// Modes of CONNMARK (linux/netfilter/xt_connmark.h).
const (
	connmarkSet     = 0
	connmarkSave    = 1
	connmarkRestore = 2
)

// encodeConnmark writes a target CONNMARK, from linux/netfilter/xt_connmark.h,
//
//	struct xt_connmark_tginfo2 { __u32 ctmark, ctmask, nfmask; __u8 shift_dir, shift_bits, mode; }
//
// Revision 1, which iptables wrote before 1.8.1, differs in having no shifts. Where a mode
// does not use nfmask, iptables sets all its bits (connmark_tg_init in
// extensions/libxt_CONNMARK.c).
func encodeConnmark(revision uint32, t iptables.Target) extension {
	var mark, connectionMask, packetMask uint32
	var mode byte
	switch t := t.(type) {
	case iptables.SetConnmark:
		mark, connectionMask, packetMask, mode = t.Value, t.Mask, iptables.FullMask, connmarkSet
	case iptables.SaveMark:
		connectionMask, packetMask, mode = t.ConnectionMask, t.PacketMask, connmarkSave
	case iptables.RestoreMark:
		connectionMask, packetMask, mode = t.ConnectionMask, t.PacketMask, connmarkRestore
	}
	s := structure{}.u32(mark, connectionMask, packetMask)
	if revision > 1 {
		s = s.u8(0, 0)
	}
	return newExtension("CONNMARK", revision, s.u8(mode))
}

func decodeConnmark(revision uint32, f fields) iptables.Target {
	mode := f.u8(14)
	if revision == 1 {
		mode = f.u8(12)
	}
	switch mode {
	case connmarkSet:
		return iptables.SetConnmark{Value: f.u32(0), Mask: f.u32(4)}
	case connmarkSave:
		return iptables.SaveMark{PacketMask: f.u32(8), ConnectionMask: f.u32(4)}
	case connmarkRestore:
		return iptables.RestoreMark{PacketMask: f.u32(8), ConnectionMask: f.u32(4)}
	}
	return nil
}

// encodeCTZone writes, from linux/netfilter/xt_CT.h,
//
//	struct xt_ct_target_info_v1 {
//		__u16 flags, zone;
//		__u32 ct_events, exp_events;
//		char helper[16], timeout[32];
//		struct nf_conn *ct; // the kernel's own, 8-aligned
//	}
//
// which revisions 1 and 2 share.
func encodeCTZone(t iptables.CTZone) extension {
	s := structure{}.u16(0, t.Zone).u32(0, 0).zeros(16 + 32)
	return newExtension("CT", 2, s.zeros(4+8))
}

// snatRevision is the revision that iptables writes for a family.
func snatRevision(family iptables.Family) uint32 {
	if family == iptables.IPv4 {
		return 0
	}
	return 1
}

// encodeSNAT writes the structs of encodeRedirect, with an address for the range.
func encodeSNAT(family iptables.Family, t iptables.SNAT) (extension, error) {
	if iptables.FamilyOf(t.To) != family {
		return extension{}, fmt.Errorf("SNAT to %s in an %s table", t.To, family)
	}
	s := structure{}
	if family == iptables.IPv4 {
		s = s.u32(1)
	}
	s = s.u32(unix.NF_NAT_RANGE_MAP_IPS).u8(t.To.AsSlice()...).u8(t.To.AsSlice()...)
	return newExtension("SNAT", snatRevision(family), s.be16(0, 0)), nil
}

func decodeSNAT(family iptables.Family, f fields) iptables.Target {
	offset, size := 8, 4
	if family == iptables.IPv6 {
		offset, size = 4, 16
	}
	if len(f) < offset+size {
		return nil
	}
	to, _ := netip.AddrFromSlice(f[offset : offset+size])
	return iptables.SNAT{To: to}
}
