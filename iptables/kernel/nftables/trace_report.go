package nftables

import (
	"github.com/meshtables/meshtables/iptables/internal/netlink"
	"golang.org/x/sys/unix"
)

// nfDrop and nfAccept are NF_DROP and NF_ACCEPT (linux/netfilter.h).
const (
	nfDrop   = 0
	nfAccept = 1
)

// traceReport is NFT_MSG_TRACE (enum nft_trace_attributes in
// linux/netfilter/nf_tables.h): a rule that a traced packet matched, or a policy.
type traceReport struct {
	family       byte // of the table
	table, chain string
	handle       uint64 // of the rule
	kind         uint32
	dropped      bool
	// packet is the trace id: a hash of where the packet is in memory, its flow and the
	// interface that it came in by (nft_trace_init in net/netfilter/nf_tables_trace.c).
	// It is the same at every hook, until the packet comes in by another interface.
	packet  uint32
	in, out uint32 // numbers of interfaces, or 0
	// header is what a packet that leaves by lo has when it comes in again, or empty:
	// only the first report of a chain has it.
	header string
}

func readTraceReport(m netlink.Message) traceReport {
	r := traceReport{family: m.Family()}
	var network, transport []byte
	for attribute, value := range m.Attributes() {
		switch attribute {
		case unix.NFTA_TRACE_TABLE:
			r.table = netlink.ReadString(value)
		case unix.NFTA_TRACE_CHAIN:
			r.chain = netlink.ReadString(value)
		case unix.NFTA_TRACE_RULE_HANDLE:
			r.handle = netlink.ReadUint64(value)
		case unix.NFTA_TRACE_TYPE:
			r.kind = netlink.ReadUint32(value)
		case unix.NFTA_TRACE_POLICY:
			r.dropped = netlink.ReadUint32(value) != nfAccept
		case unix.NFTA_TRACE_VERDICT:
			for attribute, value := range netlink.Attributes(value) {
				if attribute == unix.NFTA_VERDICT_CODE {
					r.dropped = netlink.ReadUint32(value) == nfDrop
				}
			}
		case unix.NFTA_TRACE_ID:
			r.packet = netlink.ReadUint32(value)
		case unix.NFTA_TRACE_IIF:
			r.in = netlink.ReadUint32(value)
		case unix.NFTA_TRACE_OIF:
			r.out = netlink.ReadUint32(value)
		case unix.NFTA_TRACE_NETWORK_HEADER:
			network = value
		case unix.NFTA_TRACE_TRANSPORT_HEADER:
			transport = value
		}
	}
	r.header = packetHeader(network, transport)
	return r
}

// isRule reports whether it is a rule that matched. The end of a chain is reported as a
// rule without a handle (nft_do_chain in net/netfilter/nf_tables_core.c), and by older
// kernels a rule that returns as such an end, with its handle.
func (r *traceReport) isRule() bool {
	return (r.kind == unix.NFT_TRACETYPE_RULE || r.kind == unix.NFT_TRACETYPE_RETURN) && r.handle != 0
}

// packetHeader returns the addresses of a packet of IPv4 (RFC 791) or IPv6 (RFC 8200) and,
// of TCP (RFC 9293), its ports, numbers and flags or, of UDP (RFC 768), its ports and
// length: all that comes before the checksum, which may only be computed on the way.
func packetHeader(network, transport []byte) string {
	const ipv4, ipv6, tcp, udp = 20, 40, 20, 8
	var header string
	switch {
	case len(network) >= ipv6:
		header = string(network[8:ipv6])
	case len(network) >= ipv4:
		header = string(network[12:ipv4])
	default:
		return ""
	}
	switch {
	case len(transport) >= tcp:
		return header + string(transport[:14])
	case len(transport) >= udp:
		return header + string(transport[:6])
	}
	return ""
}
