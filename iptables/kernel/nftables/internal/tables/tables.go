// Package tables names, reads and changes what is around the expressions of rules:
// tables, chains and their hooks, and rules as a whole.
package tables

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"golang.org/x/sys/unix"
)

// Inet is the family of tables for packets of both families.
const Inet iptables.Family = 0

// Number returns the nf_tables family (NFPROTO_*, linux/netfilter.h).
func Number(f iptables.Family) byte {
	switch f {
	case Inet:
		return unix.NFPROTO_INET
	case iptables.IPv6:
		return unix.NFPROTO_IPV6
	}
	return unix.NFPROTO_IPV4
}

// FamilyOf undoes Number. It is not ok for other families, such as bridge.
func FamilyOf(number byte) (f iptables.Family, ok bool) {
	for _, f := range []iptables.Family{Inet, iptables.IPv4, iptables.IPv6} {
		if Number(f) == number {
			return f, true
		}
	}
	return 0, false
}

// Key names a table.
type Key struct {
	Family iptables.Family // or Inet
	Name   string
}

// String returns nft's name of the table, such as "ip nat".
func (k Key) String() string {
	switch k.Family {
	case Inet:
		return "inet " + k.Name
	case iptables.IPv6:
		return "ip6 " + k.Name
	}
	return "ip " + k.Name
}

// FlagOwner is NFT_TABLE_F_OWNER (linux/netfilter/nf_tables.h), of Linux 5.12: the
// table goes with the socket that made it, however the program ends.
const FlagOwner = 1 << 1

// Attachment is a built-in chain's place on the kernel's packet path.
type Attachment struct {
	Kind     string // "filter", "nat" or "route"
	Hook     uint32 // enum nf_inet_hooks, linux/netfilter.h
	Priority int32  // enum nf_ip_hook_priorities, linux/netfilter_ipv4.h
}

// hookNames are iptables' chains by the number of their hook (enum nf_inet_hooks,
// linux/netfilter.h).
var hookNames = [...]string{
	unix.NF_INET_PRE_ROUTING:  iptables.Prerouting,
	unix.NF_INET_LOCAL_IN:     "INPUT",
	unix.NF_INET_FORWARD:      "FORWARD",
	unix.NF_INET_LOCAL_OUT:    iptables.Output,
	unix.NF_INET_POST_ROUTING: "POSTROUTING",
}

// HookNumber returns the number of a built-in chain's hook.
func HookNumber(builtin string) uint32 { return uint32(slices.Index(hookNames[:], builtin)) }

// HookName undoes HookNumber. It is not ok for hooks without a chain of iptables, such as
// ingress.
func HookName(number uint32) (builtin string, ok bool) {
	if number >= uint32(len(hookNames)) {
		return "", false
	}
	return hookNames[number], true
}

// AttachmentOf returns where iptables-nft attaches a built-in chain of a table
// that meshtables writes to (xtables_ipv4 in iptables/nft.c).
func AttachmentOf(table, chain string) (a Attachment, ok bool) {
	if !IsBuiltin(table, chain) {
		return a, false
	}
	a.Hook = HookNumber(chain)
	switch table {
	case iptables.Raw:
		a.Kind, a.Priority = "filter", -300
	case iptables.Mangle:
		a.Kind, a.Priority = "filter", -150
		if chain == iptables.Output {
			// So that a packet whose mark changes is routed again.
			a.Kind = "route"
		}
	case iptables.Nat:
		a.Kind, a.Priority = "nat", -100
		if chain == "INPUT" || chain == "POSTROUTING" {
			a.Priority = 100
		}
	default:
		return a, false
	}
	return a, true
}

// IsBuiltin reports whether a table of iptables always has the chain.
func IsBuiltin(table, chain string) bool {
	return slices.Contains(iptables.BuiltinChains(table), chain)
}
