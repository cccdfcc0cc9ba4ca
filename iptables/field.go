package iptables

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Field is something that rules of nft load of a packet, or of what surrounds it. Those of
// [SetField] are fields by the same name, the others have nft's.
type Field string

// The fields that a [Packet] has and that no [SetField] is.
const (
	FieldFamily          Field = "meta nfproto"   // NFPROTO_*, 1 byte
	FieldEthertype       Field = "meta protocol"  // ETH_P_*, 2 bytes
	FieldProtocol        Field = "meta l4proto"   // 1 byte
	FieldMark            Field = "meta mark"      // 4 bytes
	FieldConnMark        Field = "ct mark"        // 4 bytes
	FieldState           Field = "ct state"       // enum nft_ct_state bits, 4 bytes
	FieldStatus          Field = "ct status"      // enum ip_conntrack_status, 4 bytes
	FieldDirection       Field = "ct direction"   // enum ip_conntrack_dir, 1 byte
	FieldZone            Field = "ct zone"        // 2 bytes
	FieldSourceType      Field = "fib saddr type" // RTN_*, 4 bytes
	FieldDestinationType Field = "fib daddr type" // RTN_*, 4 bytes
	FieldPacketType      Field = "meta pkttype"   // PACKET_*, 1 byte
	FieldTCPFlags        Field = "tcp flags"      // 1 byte
)

// loaded is what loading a field gives.
type loaded struct {
	// possible is the value, or the bounds of what it may be. Without bounds it may be
	// anything.
	possible Interval
	// absent says that the packet has no such field. Then nft's rule does not match,
	// negated or not (NFT_BREAK in net/netfilter).
	absent bool
}

func (l loaded) isKnown() bool { return l.possible.First != "" && l.possible.First == l.possible.Last }

func known(v Value) loaded { return loaded{possible: Interval{v, v}} }

func knownByte(b byte) loaded { return known(Value([]byte{b})) }

func knownUint16(n uint16) loaded { return known(Value(binary.BigEndian.AppendUint16(nil, n))) }

func knownUint32(n uint32) loaded { return known(Value(binary.BigEndian.AppendUint32(nil, n))) }

// load returns the packet's value of a field, in network order.
func (p *Packet) load(f Field) loaded {
	switch f {
	case Field(SourcePort), Field(DestinationPort):
		if !p.Protocol.hasPorts() {
			return loaded{}
		}
	case FieldFamily, FieldEthertype:
		return p.loadFamily(f)
	case FieldProtocol:
		if n, ok := p.Protocol.Number(); ok {
			return knownByte(n)
		}
		return loaded{}
	case FieldMark:
		return knownUint32(p.Mark)
	case FieldConnMark, FieldState, FieldStatus, FieldDirection, FieldZone:
		return p.loadConnection(f)
	case FieldSourceType:
		return loadType(p.SourceType)
	case FieldDestinationType:
		return loadType(p.DestinationType)
	case FieldPacketType:
		return p.loadPacketType()
	case FieldTCPFlags:
		return p.loadTCPFlags()
	}
	if !slices.Contains(SetFields(), SetField(f)) {
		return loaded{}
	}
	v, ok := p.Value(SetField(f))
	if !ok {
		return loaded{absent: true}
	}
	return known(v)
}

func (p *Packet) loadFamily(f Field) loaded {
	number, ethertype := byte(unix.NFPROTO_IPV4), uint16(unix.ETH_P_IP)
	if p.Family() == IPv6 {
		number, ethertype = unix.NFPROTO_IPV6, unix.ETH_P_IPV6
	}
	if f == FieldFamily {
		return knownByte(number)
	}
	return knownUint16(ethertype)
}

// stateBits are NF_CT_STATE_BIT of enum ip_conntrack_info, and what is there for packets
// without a connection (linux/netfilter/nf_conntrack_common.h).
var stateBits = sync.OnceValue(func() map[CTState]uint32 {
	return map[CTState]uint32{
		StateInvalid: 1 << 0, StateEstablished: 1 << 1, StateRelated: 1 << 2, StateNew: 1 << 3, StateUntracked: 1 << 6,
	}
})

// StateBits returns states as the bits of [FieldState].
func StateBits(s CTState) (bits uint32) {
	for state, bit := range stateBits() {
		if s&state != 0 {
			bits |= bit
		}
	}
	return bits
}

// loadConnection reads what nft_ct_get_eval in net/netfilter/nft_ct.c does.
func (p *Packet) loadConnection(f Field) loaded {
	state := p.connectionState()
	switch {
	case f == FieldState:
		return knownUint32(StateBits(state))
	case state == StateInvalid || state == StateUntracked:
		return loaded{absent: true}
	case f == FieldStatus:
		// Some bits are known; see loadStatus.
		return loaded{}
	case f == FieldConnMark:
		return knownUint32(p.ConnMark)
	case f == FieldZone:
		return knownUint16(p.Zone)
	}
	switch state {
	case StateNew:
		return knownByte(0)
	case StateEstablished:
		// The packets that this package is asked about are the first ones and their
		// answers.
		return knownByte(1)
	}
	return loaded{}
}

// loadStatus returns the bits of [FieldStatus] in a mask. Those are known that say whether
// the connection has seen an answer, and whether it has another destination.
func (p *Packet) loadStatus(mask Value) loaded {
	const expected, seenReply, assured, confirmed, dnat = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 5
	decided, bits := uint32(dnat), uint32(0)
	if p.Translated {
		bits |= dnat
	}
	switch p.State {
	case StateNew:
		decided |= expected | seenReply | assured | confirmed
	case StateEstablished:
		decided |= seenReply | confirmed
		bits |= seenReply | confirmed
	}
	if len(mask) != 4 || binary.BigEndian.Uint32([]byte(mask))&^decided != 0 {
		return loaded{}
	}
	return knownUint32(bits)
}

// addressTypes are RTN_* by their number (linux/rtnetlink.h), as iptables names them.
var addressTypes = [...]string{
	"UNSPEC", "UNICAST", "LOCAL", "BROADCAST", "ANYCAST", "MULTICAST",
	"BLACKHOLE", "UNREACHABLE", "PROHIBIT", "THROW", "NAT", "XRESOLVE",
}

// AddressType returns the name of RTN_*. It is not ok for other numbers.
func AddressType(number uint32) (name string, ok bool) {
	if number >= uint32(len(addressTypes)) {
		return "", false
	}
	return addressTypes[number], true
}

func loadType(name string) loaded {
	if n := slices.Index(addressTypes[:], name); n >= 0 {
		return knownUint32(uint32(n))
	}
	return loaded{}
}

// loadPacketType tells packets for one machine from others, as the link layer does. What
// this machine sends counts as for itself (net/netfilter/xt_pkttype.c), but for multicast
// that comes back.
func (p *Packet) loadPacketType() loaded {
	const host, broadcast, multicast = 0, 1, 2 // linux/if_packet.h
	switch {
	case p.Destination.IsMulticast() && p.In == "":
		return loaded{}
	case p.Destination.IsMulticast():
		return knownByte(multicast)
	case p.DestinationType == "BROADCAST" || p.Destination == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return knownByte(broadcast)
	}
	return knownByte(host)
}

// loadTCPFlags returns those of the first packets of a connection (RFC 9293, section
// 3.5).
func (p *Packet) loadTCPFlags() loaded {
	const syn, ack = 1 << 1, 1 << 4
	switch {
	case p.Protocol != TCP:
	case p.State == StateNew:
		return knownByte(syn)
	case p.State == StateEstablished:
		return knownByte(syn | ack)
	}
	return loaded{}
}
