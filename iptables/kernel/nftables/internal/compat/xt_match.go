package compat

import (
	"fmt"

	"github.com/meshtables/meshtables/iptables"
)

// Flags of struct xt_tcp and xt_udp (linux/netfilter/xt_tcpudp.h).
const (
	portsNotSource      = 1 << 0
	portsNotDestination = 1 << 1
	tcpNotFlags         = 1 << 2
)

var anyPort = iptables.PortRange{First: 0, Last: 0xffff}

// encodePorts writes, from linux/netfilter/xt_tcpudp.h,
//
//	struct xt_tcp { __u16 spts[2], dpts[2]; __u8 option, flg_mask, flg_cmp, invflags; }
//	struct xt_udp { __u16 spts[2], dpts[2]; __u8 invflags; }
//
// iptables 1.8.9 writes native comparisons instead, but releases before 1.8.8
// cannot list those.
func encodePorts(m iptables.Ports) (extension, error) {
	source, destination := anyPort, anyPort
	var not byte
	if m.Source.Set {
		source = m.Source.Range
	}
	if m.Source.Not {
		not |= portsNotSource
	}
	if m.Destination.Set {
		destination = m.Destination.Range
	}
	if m.Destination.Not {
		not |= portsNotDestination
	}
	s := structure{}.u16(source.First, source.Last, destination.First, destination.Last)
	switch m.Protocol {
	case iptables.TCP:
		if m.Flags.Not {
			not |= tcpNotFlags
		}
		return newExtension("tcp", 0, s.u8(0, m.Flags.Mask, m.Flags.Value, not)), nil
	case iptables.UDP:
		return newExtension("udp", 0, s.u8(not)), nil
	default:
		return extension{}, fmt.Errorf("ports of protocol %q cannot be matched", m.Protocol)
	}
}

func decodePorts(protocol iptables.Protocol, f fields) iptables.Match {
	not := f.u8(8)
	var flags iptables.TCPFlags
	if protocol == iptables.TCP {
		not = f.u8(11)
		flags = iptables.TCPFlags{Mask: f.u8(9), Value: f.u8(10), Not: not&tcpNotFlags != 0}
	}
	return iptables.Ports{
		Flags:       flags,
		Protocol:    protocol,
		Source:      portMatch(f.u16(0), f.u16(2), not&portsNotSource != 0),
		Destination: portMatch(f.u16(4), f.u16(6), not&portsNotDestination != 0),
	}
}

// portMatch returns the zero value for all ports, which iptables does not print.
func portMatch(first, last uint16, not bool) iptables.PortMatch {
	r := iptables.PortRange{First: first, Last: last}
	if r == anyPort && !not {
		return iptables.PortMatch{}
	}
	return iptables.PortMatch{Range: r, Not: not, Set: true}
}

// multiportSides is enum xt_multiport_flags (linux/netfilter/xt_multiport.h).
var multiportSides = [...]iptables.PortSide{
	iptables.SourcePorts, iptables.DestinationPorts, iptables.EitherPorts,
}

// encodeMultiport writes, from linux/netfilter/xt_multiport.h,
//
//	struct xt_multiport_v1 {
//		__u8 flags, count;
//		__u16 ports[XT_MULTI_PORTS];
//		__u8 pflags[XT_MULTI_PORTS], invert;
//	}
//
// where pflags is 1 for a port that begins a range; its end follows.
func encodeMultiport(m iptables.Multiport) (extension, error) {
	var ports [iptables.MaxMultiport]uint16
	var begins [iptables.MaxMultiport]byte
	side, count := -1, 0
	for i, s := range multiportSides {
		if s == m.Side {
			side = i
		}
	}
	if side < 0 {
		return extension{}, fmt.Errorf("multiport has no option %q", m.Side)
	}
	for _, p := range m.Ports {
		isRange := p.First != p.Last
		if need := count + 1; need > iptables.MaxMultiport || isRange && need+1 > iptables.MaxMultiport {
			return extension{}, fmt.Errorf("multiport takes at most %d ports", iptables.MaxMultiport)
		}
		ports[count] = p.First
		if isRange {
			begins[count] = 1
			count++
			ports[count] = p.Last
		}
		count++
	}
	s := structure{}.u8(byte(side), byte(count)).u16(ports[:]...).u8(begins[:]...)
	return newExtension("multiport", 1, s.u8(boolean(m.Not))), nil
}

func decodeMultiport(f fields) iptables.Match {
	side, count := int(f.u8(0)), int(f.u8(1))
	if side >= len(multiportSides) || count > iptables.MaxMultiport {
		return iptables.Multiport{}
	}
	m := iptables.Multiport{Side: multiportSides[side], Not: f.u8(47) != 0}
	for i := 0; i < count; i++ {
		p := iptables.Port(f.u16(2 + 2*i))
		if f.u8(32+i) != 0 && i+1 < count {
			i++
			p.Last = f.u16(2 + 2*i)
		}
		m.Ports = append(m.Ports, p)
	}
	return m
}

// Flags of struct xt_owner_match_info (linux/netfilter/xt_owner.h).
const (
	ownerUID = 1 << 0
	ownerGID = 1 << 1
	// ownerSocket is XT_OWNER_SOCKET.
	ownerSocket = 1 << 2
)

// encodeOwner writes, from linux/netfilter/xt_owner.h,
//
//	struct xt_owner_match_info { __u32 uid_min, uid_max, gid_min, gid_max; __u8 match, invert; }
func encodeOwner(m iptables.Owner) extension {
	var match, invert byte
	set := func(id iptables.IDMatch, flag byte) {
		if id.Set {
			match |= flag
		}
		if id.Not {
			invert |= flag
		}
	}
	set(m.UID, ownerUID)
	set(m.GID, ownerGID)
	if m.Socket {
		match |= ownerSocket
	}
	s := structure{}.u32(m.UID.First, m.UID.Last, m.GID.First, m.GID.Last)
	return newExtension("owner", 1, s.u8(match, invert))
}

func decodeOwner(f fields) iptables.Match {
	match, invert := f.u8(16), f.u8(17)
	id := func(offset int, flag byte) iptables.IDMatch {
		return iptables.IDMatch{
			First: f.u32(offset), Last: f.u32(offset + 4),
			Not: invert&flag != 0, Set: match&flag != 0,
		}
	}
	return iptables.Owner{UID: id(0, ownerUID), GID: id(8, ownerGID), Socket: match&ownerSocket != 0}
}

// conntrackState is XT_CONNTRACK_STATE (linux/netfilter/xt_conntrack.h).
const conntrackState = 1 << 0

// conntrackStates gives XT_CONNTRACK_INVALID, XT_CONNTRACK_STATE_BIT and
// XT_CONNTRACK_STATE_UNTRACKED (linux/netfilter/xt_conntrack.h) over enum
// ip_conntrack_info (linux/netfilter/nf_conntrack_common.h).
var conntrackStates = [...]struct {
	state iptables.CTState
	bit   uint16
}{
	{iptables.StateInvalid, 1 << 0},
	{iptables.StateEstablished, 1 << 1},
	{iptables.StateRelated, 1 << 2},
	{iptables.StateNew, 1 << 3},
	{iptables.StateUntracked, 1 << 8},
}

// encodeConntrack writes, from linux/netfilter/xt_conntrack.h,
//
//	struct xt_conntrack_mtinfo3 {
//		union nf_inet_addr addresses_and_masks[8]; // 128 bytes
//		__u32 expires_min, expires_max;
//		__u16 l4proto, ports[4];
//		__u16 match_flags, invert_flags, state_mask, status_mask;
//		__u16 ports_high[4];
//	}
func encodeConntrack(m iptables.Conntrack) extension {
	var states uint16
	for _, s := range conntrackStates {
		if m.States&s.state != 0 {
			states |= s.bit
		}
	}
	var invert uint16
	if m.Not {
		invert = conntrackState
	}
	s := structure{}.zeros(conntrackFlags).u16(conntrackState, invert, states, 0).zeros(4 * 2)
	return newExtension("conntrack", 3, s.zeros(conntrackTail))
}

const (
	conntrackFlags = 128 + 2*4 + 5*2 // offset of match_flags
	conntrackTail  = 2               // the struct's own padding, to 4
)

func decodeConntrack(f fields) iptables.Match {
	m := iptables.Conntrack{Not: f.u16(conntrackFlags+2)&conntrackState != 0}
	for _, s := range conntrackStates {
		if f.u16(conntrackFlags+4)&s.bit != 0 {
			m.States |= s.state
		}
	}
	return m
}

// encodeMark writes, from linux/netfilter/xt_mark.h and the equal one of xt_connmark.h,
//
//	struct xt_mark_mtinfo1 { __u32 mark, mask; __u8 invert; }
func encodeMark(name string, value, mask uint32, not bool) extension {
	return newExtension(name, 1, structure{}.u32(value, mask).u8(boolean(not)))
}

func boolean(b bool) byte {
	if b {
		return 1
	}
	return 0
}
