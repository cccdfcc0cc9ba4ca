// Package tables names, reads and changes what is around the expressions of rules:
// tables, chains and their hooks, and rules as a whole.
package tables

import (
	"slices"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"golang.org/x/sys/unix"
)

// Families of tables that are not those of packets. Both are for packets of IPv4 and IPv6.
const (
	Inet iptables.Family = 0
	// Netdev is for packets as an interface receives and sends them.
	Netdev iptables.Family = 1
)

// Number returns the nf_tables family (NFPROTO_*, linux/netfilter.h).
func Number(f iptables.Family) byte {
	switch f {
	case Inet:
		return unix.NFPROTO_INET
	case Netdev:
		return unix.NFPROTO_NETDEV
	case iptables.IPv6:
		return unix.NFPROTO_IPV6
	}
	return unix.NFPROTO_IPV4
}

// FamilyOf undoes Number. It is not ok for other families, such as bridge.
func FamilyOf(number byte) (f iptables.Family, ok bool) {
	for _, f := range []iptables.Family{Inet, Netdev, iptables.IPv4, iptables.IPv6} {
		if Number(f) == number {
			return f, true
		}
	}
	return 0, false
}

// Key names a table.
type Key struct {
	Family iptables.Family // or Inet or Netdev
	Name   string
}

// Families returns the families whose packets meet the table.
func (k Key) Families() []iptables.Family {
	if k.Family == Inet || k.Family == Netdev {
		return iptables.Families()
	}
	return []iptables.Family{k.Family}
}

// String returns nft's name of the table, such as "ip nat".
func (k Key) String() string {
	switch k.Family {
	case Inet:
		return "inet " + k.Name
	case Netdev:
		return "netdev " + k.Name
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
	unix.NF_INET_LOCAL_IN:     iptables.Input,
	unix.NF_INET_FORWARD:      iptables.Forward,
	unix.NF_INET_LOCAL_OUT:    iptables.Output,
	unix.NF_INET_POST_ROUTING: iptables.Postrouting,
}

// HookNumber returns the number of a built-in chain's hook.
func HookNumber(builtin string) uint32 { return uint32(slices.Index(hookNames[:], builtin)) }

// Hooks without a chain of iptables: NF_INET_INGRESS in tables of [Inet], and enum
// nf_dev_hooks in those of [Netdev] (linux/netfilter.h).
const (
	inetIngress   = 5
	netdevIngress = 0
	netdevEgress  = 1
)

// HookName returns the name of a hook of tables of a family: that of iptables' built-in
// chain, [installed.Ingress] or [installed.Egress].
func HookName(f iptables.Family, number uint32) (hook string, ok bool) {
	switch {
	case f == Netdev && number == netdevIngress, f == Inet && number == inetIngress:
		return installed.Ingress, true
	case f == Netdev && number == netdevEgress:
		return installed.Egress, true
	case f == Netdev || number >= uint32(len(hookNames)):
		return "", false
	}
	return hookNames[number], true
}

// AttachmentOf returns where the built-in chain of a table is attached in a form; see
// [installed.AttachmentOf].
func AttachmentOf(f installed.Form, table, chain string) (a Attachment, ok bool) {
	at, ok := installed.AttachmentOf(f, table, chain)
	return Attachment{at.Kind, HookNumber(at.Hook), at.Priority}, ok
}
