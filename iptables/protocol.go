package iptables

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// protocols are those that iptables itself has names for (xtables_chain_protos in
// libxtables/xtables.c). It takes more names from /etc/protocols, which an empty image
// does not have: those protocols stay numbers here.
var protocols = [...]struct {
	name   Protocol
	number byte
}{
	{TCP, unix.IPPROTO_TCP},
	{UDP, unix.IPPROTO_UDP},
	{"icmp", unix.IPPROTO_ICMP},
	{"ipv6-icmp", unix.IPPROTO_ICMPV6},
	{"sctp", unix.IPPROTO_SCTP},
	{"udplite", unix.IPPROTO_UDPLITE},
	{"esp", unix.IPPROTO_ESP},
	{"ah", unix.IPPROTO_AH},
	{"dccp", unix.IPPROTO_DCCP},
}

// Number returns the number of a protocol. It is not ok for names that iptables does not
// have itself.
func (p Protocol) Number() (number byte, ok bool) {
	for _, known := range protocols {
		if known.name == p {
			return known.number, true
		}
	}
	n, err := strconv.ParseUint(string(p), 10, 8)
	return byte(n), err == nil
}

// ProtocolOf returns the protocol with a number.
func ProtocolOf(number byte) Protocol {
	for _, known := range protocols {
		if known.number == number {
			return known.name
		}
	}
	return Protocol(strconv.Itoa(int(number)))
}

// hasPorts reports whether the protocol's header begins with two ports.
func (p Protocol) hasPorts() bool {
	switch p {
	case TCP, UDP, "sctp", "udplite", "dccp":
		return true
	}
	return false
}
