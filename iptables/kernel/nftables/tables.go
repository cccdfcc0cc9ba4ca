package nftables

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"golang.org/x/sys/unix"
)

// Attributes and values of linux/netfilter/nf_tables.h and linux/netfilter.h
// that golang.org/x/sys/unix does not have.
const (
	nftaTableUserdata = 6
	nftaChainUserdata = 12
	nfAccept          = 1 // NF_ACCEPT; NF_DROP is 0
)

// tableKey names a table.
type tableKey struct {
	family iptables.Family
	name   string
}

// attachment is where a built-in chain is attached to the kernel's packet path.
type attachment struct {
	kind     string // "filter", "nat" or "route"
	hook     uint32 // enum nf_inet_hooks, linux/netfilter.h
	priority int32  // enum nf_ip_hook_priorities, linux/netfilter_ipv4.h
}

// hookNumbers is enum nf_inet_hooks (linux/netfilter.h) by the chain that
// iptables names after each.
var hookNumbers = map[string]uint32{
	iptables.Prerouting: 0,
	"INPUT":             1,
	"FORWARD":           2,
	iptables.Output:     3,
	"POSTROUTING":       4,
}

// attachmentOf returns where iptables-nft attaches a built-in chain of a table
// that meshtables writes to (xtables_ipv4 in iptables/nft.c).
func attachmentOf(table, chain string) (a attachment, ok bool) {
	if !isBuiltin(table, chain) {
		return a, false
	}
	a.hook = hookNumbers[chain]
	switch table {
	case iptables.Raw:
		a.kind, a.priority = "filter", -300
	case iptables.Mangle:
		a.kind, a.priority = "filter", -150
		if chain == iptables.Output {
			// So that a packet whose mark changes is routed anew.
			a.kind = "route"
		}
	case iptables.Nat:
		a.kind, a.priority = "nat", -100
		if chain == "INPUT" || chain == "POSTROUTING" {
			a.priority = 100
		}
	default:
		return a, false
	}
	return a, true
}

func isBuiltin(table, chain string) bool {
	return slices.Contains(iptables.BuiltinChains(table), chain)
}

// familyNumber is the nf_tables family of the tables that iptables uses, and of
// the native one.
func familyNumber(f iptables.Family) byte {
	switch f {
	case inet:
		return unix.NFPROTO_INET
	case iptables.IPv6:
		return unix.NFPROTO_IPV6
	}
	return unix.NFPROTO_IPV4
}
