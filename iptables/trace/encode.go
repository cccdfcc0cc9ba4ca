package trace

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
)

// encode returns the packet on the wire: IPv4 (RFC 791) or IPv6 (RFC 8200) with a TCP SYN
// (RFC 9293) or an empty UDP datagram (RFC 768).
func encode(p iptables.Packet) ([]byte, error) {
	var segment []byte
	var number byte
	switch p.Protocol {
	case iptables.TCP:
		number, segment = unix.IPPROTO_TCP, encodeTCP(p)
	case iptables.UDP:
		number, segment = unix.IPPROTO_UDP, encodeUDP(p)
	default:
		return nil, protocolError(p.Protocol)
	}
	pseudo := slices.Concat(p.Source.AsSlice(), p.Destination.AsSlice())
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(segment)))
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(number))
	at := map[byte]int{unix.IPPROTO_TCP: 16, unix.IPPROTO_UDP: 6}[number]
	binary.BigEndian.PutUint16(segment[at:], checksum(append(pseudo, segment...)))
	if p.Destination.Is4() {
		return append(encodeIPv4(p, number, len(segment)), segment...), nil
	}
	return append(encodeIPv6(p, number, len(segment)), segment...), nil
}

func encodePorts(p iptables.Packet) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, p.SourcePort), p.DestinationPort)
}

func encodeTCP(p iptables.Packet) []byte {
	const dataOffset, syn = 5 << 4, 0x02
	header := append(encodePorts(p), 0, 0, 0, 1, 0, 0, 0, 0, dataOffset, syn)
	header = binary.BigEndian.AppendUint16(header, 0xffff) // window
	return append(header, 0, 0, 0, 0)                      // checksum, urgent pointer
}

func encodeUDP(p iptables.Packet) []byte {
	return append(encodePorts(p), 0, 8, 0, 0) // length, checksum
}

// hops is enough for a packet that goes nowhere.
const hops = 64

func encodeIPv4(p iptables.Packet, protocol byte, payload int) []byte {
	const version, size = 0x45, 20
	header := []byte{version, 0}
	header = binary.BigEndian.AppendUint16(header, uint16(size+payload))
	header = append(header, 0, 0, 0, 0, hops, protocol, 0, 0)
	header = slices.Concat(header, p.Source.AsSlice(), p.Destination.AsSlice())
	binary.BigEndian.PutUint16(header[10:], checksum(header))
	return header
}

func encodeIPv6(p iptables.Packet, protocol byte, payload int) []byte {
	header := []byte{6 << 4, 0, 0, 0}
	header = binary.BigEndian.AppendUint16(header, uint16(payload))
	header = append(header, protocol, hops)
	return slices.Concat(header, p.Source.AsSlice(), p.Destination.AsSlice())
}

// checksum is the Internet checksum (RFC 1071) of an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
