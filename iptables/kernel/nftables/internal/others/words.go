package others

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
)

// kind says how nft prints values.
type kind int

const (
	number kind = iota
	address
	port
	protocol
	name
	index
	mark
	state
	status
	direction
	addressType
	packetType
	family
	ethertype
	tcpFlags
	existence
	label
)

// bitNames are the names of bits, the lowest first.
var bitNames = sync.OnceValue(func() map[kind][]string {
	return map[kind][]string{
		// NF_CT_STATE_BIT of enum ip_conntrack_info
		state: {"invalid", "established", "related", "new", "", "", "untracked"},
		// enum ip_conntrack_status in linux/netfilter/nf_conntrack_common.h
		status: {"expected", "seen-reply", "assured", "confirmed", "snat", "dnat", "seq-adjust", "snat-done", "dnat-done", "dying"},
		// RFC 9293, section 3.1
		tcpFlags: {"fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr"},
	}
})

// valueNames are the names of values from 0 on.
var valueNames = sync.OnceValue(func() map[kind][]string {
	return map[kind][]string{
		direction:  {"original", "reply"},
		packetType: {"host", "broadcast", "multicast", "other"},
		existence:  {"missing", "exists"},
	}
})

// text returns a value, in network order, as nft prints it or in words.
func (k kind) text(v iptables.Value) string {
	n := toNumber([]byte(v))
	switch k {
	case address:
		if addr, ok := netip.AddrFromSlice([]byte(v)); ok {
			return addr.String()
		}
	case protocol:
		return string(iptables.ProtocolOf(byte(n)))
	case name:
		text := strings.TrimRight(string(v), "\x00")
		if slices.ContainsFunc([]byte(text), func(c byte) bool { return c < ' ' || c > '~' }) {
			return "a name"
		}
		return `"` + text + `"`
	case mark:
		return fmt.Sprintf("%#x", n)
	case state, status, tcpFlags:
		return bitsText(bitNames()[k], n)
	case direction, packetType, existence:
		if n < uint64(len(valueNames()[k])) {
			return valueNames()[k][n]
		}
	case addressType:
		if text, ok := iptables.AddressType(uint32(n)); ok {
			return strings.ToLower(text)
		}
	case family:
		return map[uint64]string{unix.NFPROTO_IPV4: "ipv4", unix.NFPROTO_IPV6: "ipv6"}[n]
	case ethertype:
		if text, ok := map[uint64]string{unix.ETH_P_IP: "ip", unix.ETH_P_IPV6: "ip6", unix.ETH_P_ARP: "arp"}[n]; ok {
			return text
		}
	case label:
		return "a label"
	}
	if len(v) > 8 {
		return "a value"
	}
	return strconv.FormatUint(n, 10)
}

func bitsText(names []string, bits uint64) string {
	var all []string
	for i, name := range names {
		if name != "" && bits&(1<<i) != 0 {
			all = append(all, name)
			bits &^= 1 << i
		}
	}
	if bits != 0 || len(all) == 0 {
		all = append(all, strconv.FormatUint(bits, 10))
	}
	return strings.Join(all, ",")
}

// intervalText returns an interval of the load's values.
func (l load) intervalText(i iptables.Interval) string {
	switch {
	case i.First == i.Last:
		return l.kind.text(i.First)
	case l.kind == address:
		return i.Text(iptables.SourceAddress)
	case l.kind == name:
		if text, ok := i.Interface(); ok && strings.HasSuffix(text, "+") {
			return `"` + strings.TrimSuffix(text, "+") + `*"`
		}
	}
	return l.kind.text(i.First) + "-" + l.kind.text(i.Last)
}

// names joins the names of loads as nft does for a concatenation.
func names(loads []load) string {
	all := make([]string, len(loads))
	for i, l := range loads {
		all[i] = l.text()
	}
	return strings.Join(all, " . ")
}

// text is the load's name with what is done to its value.
func (l load) text() string {
	text := l.name
	if l.key.Mask != "" {
		text += " & " + l.kind.text(l.key.Mask)
	}
	if strings.Trim(string(l.key.Xor), "\x00") != "" {
		text += " ^ " + l.kind.text(l.key.Xor)
	}
	return text
}

// elementText returns an element as nft prints it.
func elementText(loads []load, e iptables.Element) string {
	all := make([]string, len(loads))
	for i, l := range loads {
		all[i] = l.intervalText(e[i])
	}
	return strings.Join(all, " . ")
}
