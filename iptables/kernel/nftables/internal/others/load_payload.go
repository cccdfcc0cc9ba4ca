package others

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/expression"
)

// header is a field of a packet's header.
type header struct {
	offset, size uint32
	field        iptables.Field
	name         string
	kind         kind
}

// ipv4 is struct iphdr (linux/ip.h).
var ipv4 = []header{
	{0, 1, "", "ip version", number},
	{1, 1, "", "ip tos", number},
	{2, 2, "", "ip length", number},
	{4, 2, "", "ip id", number},
	{6, 2, "", "ip frag-off", number},
	{8, 1, "", "ip ttl", number},
	{9, 1, iptables.FieldProtocol, "ip protocol", protocol},
	{10, 2, "", "ip checksum", number},
	{12, 4, iptables.Field(iptables.SourceAddress), "ip saddr", address},
	{16, 4, iptables.Field(iptables.DestinationAddress), "ip daddr", address},
}

// ipv6 is struct ipv6hdr (linux/ipv6.h).
var ipv6 = []header{
	{0, 4, "", "ip6 flowlabel", number},
	{0, 2, "", "ip6 dscp", number},
	{4, 2, "", "ip6 length", number},
	{6, 1, iptables.FieldProtocol, "ip6 nexthdr", protocol},
	{7, 1, "", "ip6 hoplimit", number},
	{8, 16, iptables.Field(iptables.SourceAddress), "ip6 saddr", address},
	{24, 16, iptables.Field(iptables.DestinationAddress), "ip6 daddr", address},
}

// transport begins with ports if the protocol has any.
var transport = []header{
	{0, 2, iptables.Field(iptables.SourcePort), "th sport", port},
	{2, 2, iptables.Field(iptables.DestinationPort), "th dport", port},
}

// byProtocol are what follows the ports (linux/tcp.h, linux/udp.h), or is there instead
// (linux/icmp.h, linux/icmpv6.h).
var byProtocol = sync.OnceValue(func() map[iptables.Protocol][]header {
	return map[iptables.Protocol][]header{
		iptables.TCP: {
			{4, 4, "", "tcp sequence", number},
			{8, 4, "", "tcp ackseq", number},
			{12, 1, "", "tcp doff", number},
			{13, 1, iptables.FieldTCPFlags, "tcp flags", tcpFlags},
			{14, 2, "", "tcp window", number},
			{16, 2, "", "tcp checksum", number},
			{18, 2, "", "tcp urgptr", number},
		},
		iptables.UDP: {
			{4, 2, "", "udp length", number},
			{6, 2, "", "udp checksum", number},
		},
		"icmp": {
			{0, 1, "", "icmp type", number},
			{1, 1, "", "icmp code", number},
			{4, 2, "", "icmp id", number},
		},
		"ipv6-icmp": {
			{0, 1, "", "icmpv6 type", number},
			{1, 1, "", "icmpv6 code", number},
			{4, 2, "", "icmpv6 id", number},
		},
	}
})

var ethernet = []header{
	{0, 6, "", "ether daddr", number},
	{6, 6, "", "ether saddr", number},
	{12, 2, iptables.FieldEthertype, "ether type", ethertype},
}

// readPayload reads "payload load len @ base + offset => reg". nft loads fields that lie
// side by side at once, and only the first bytes of an address if the rest does not
// matter.
func (d *decoder) readPayload(e expression.Expression) ([]load, uint32, bool) {
	p, ok := e.Payload()
	if !ok {
		return nil, 0, false
	}
	var loads []load
	for at, end := p.Offset, p.Offset+p.Len; at < end; {
		l := d.headerAt(p.Base, at, end-at)
		loads = append(loads, l)
		at += uint32(l.key.Size)
	}
	return loads, p.DestRegister, len(loads) > 0
}

// headerAt returns the field at an offset, no longer than size.
func (d *decoder) headerAt(base expression.PayloadBase, offset, size uint32) load {
	var found *header
	headers := d.headers(base)
	for i := range headers {
		if h := &headers[i]; h.offset == offset && (h.size <= size || found == nil) {
			found = h
			if h.size <= size {
				break
			}
		}
	}
	if found == nil || found.size > size && found.kind != address {
		return otherLoad(fmt.Sprintf("@%s,%d,%d", baseName(base), 8*offset, 8*size), int(size), number, false)
	}
	l := fieldLoad(found.field, d.headerName(found), int(min(found.size, size)), found.kind, false)
	l.whole = int(found.size)
	return l
}

func (d *decoder) headers(base expression.PayloadBase) []header {
	protocol := d.part().Protocol
	switch base {
	case unix.NFT_PAYLOAD_LL_HEADER:
		return ethernet
	case unix.NFT_PAYLOAD_NETWORK_HEADER:
		if d.family == iptables.IPv6 {
			return ipv6
		}
		return ipv4
	case unix.NFT_PAYLOAD_TRANSPORT_HEADER:
		if all, ok := byProtocol()[protocol.Protocol]; ok && !protocol.Not {
			if protocol.Protocol == iptables.TCP || protocol.Protocol == iptables.UDP {
				return append(transport[:len(transport):len(transport)], all...)
			}
			return all
		}
		return transport
	}
	return nil
}

// headerName names ports after their protocol.
func (d *decoder) headerName(h *header) string {
	protocol := d.part().Protocol
	if h.kind == port && !protocol.Not && (protocol.Protocol == iptables.TCP || protocol.Protocol == iptables.UDP) {
		return string(protocol.Protocol) + h.name[len("th"):]
	}
	return h.name
}

func baseName(base expression.PayloadBase) string {
	switch base {
	case unix.NFT_PAYLOAD_LL_HEADER:
		return "ll"
	case unix.NFT_PAYLOAD_NETWORK_HEADER:
		return "nh"
	case unix.NFT_PAYLOAD_TRANSPORT_HEADER:
		return "th"
	}
	return "ih"
}
