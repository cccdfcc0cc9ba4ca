package expression

import (
	"fmt"
	"strconv"

	"github.com/meshtables/meshtables/iptables"
	"golang.org/x/sys/unix"
)

// protocols are those that iptables itself has names for (xtables_chain_protos in
// libxtables/xtables.c). It takes more names from /etc/protocols, which an empty image
// does not have: those protocols stay numbers here.
var protocols = [...]struct {
	name   iptables.Protocol
	number byte
}{
	{iptables.TCP, unix.IPPROTO_TCP},
	{iptables.UDP, unix.IPPROTO_UDP},
	{"icmp", unix.IPPROTO_ICMP},
	{"ipv6-icmp", unix.IPPROTO_ICMPV6},
	{"sctp", unix.IPPROTO_SCTP},
	{"udplite", unix.IPPROTO_UDPLITE},
	{"esp", unix.IPPROTO_ESP},
	{"ah", unix.IPPROTO_AH},
	{"dccp", unix.IPPROTO_DCCP},
}

// ProtocolNumber returns the number of a protocol, given by name or number.
func ProtocolNumber(p iptables.Protocol) (byte, error) {
	for _, known := range protocols {
		if known.name == p {
			return known.number, nil
		}
	}
	n, err := strconv.ParseUint(string(p), 10, 8)
	if err != nil {
		return 0, fmt.Errorf("the protocol %q cannot be matched", p)
	}
	return byte(n), nil
}

func protocolName(number byte) iptables.Protocol {
	for _, known := range protocols {
		if known.number == number {
			return known.name
		}
	}
	return iptables.Protocol(strconv.Itoa(int(number)))
}
