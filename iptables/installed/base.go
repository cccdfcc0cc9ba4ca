package installed

import (
	"math"
	"slices"

	"github.com/meshtables/meshtables/iptables"
)

// The hooks of chains for packets as an interface receives and sends them. iptables has no
// built-in chains there.
const (
	Ingress = "INGRESS"
	Egress  = "EGRESS"
)

// Attachment is where a base chain is on the way of packets.
type Attachment struct {
	// Hook is iptables' built-in chain at the hook, [Ingress] or [Egress].
	Hook string
	// Priority is the place at the hook (enum nf_ip_hook_priorities in
	// linux/netfilter_ipv4.h). A lower one comes first.
	Priority int32
	// Kind is the type of the chain: "filter", "route" or "nat". A chain of nat sees only
	// the first packet of a connection.
	Kind string
	// Devices are the interfaces whose packets meet a chain of [Ingress] or [Egress].
	Devices []string
	// Made is larger for a chain of a table that was made later; 0 if that is unknown. A
	// chain is usually made with its table.
	Made uint64
}

// Base is a base chain of nf_tables.
type Base struct {
	// Form is [NFT] or [Other].
	Form Form
	// Family is that of the packets. A chain for packets of several families is there
	// once for each.
	Family iptables.Family
	// Table and Chain name the chain among the tables of its form.
	Table, Chain string
	Attachment
}

// AttachmentOf returns where the built-in chain of a table of iptables is attached in a form
// (xtables_ipv4 in iptables/nft.c). It is not ok for other chains.
//
// The native form has its chains right after iptables' own. So foreign rules of iptables come
// first, as they do when our jumps are at the end of its chains. And when the rules move here
// from iptables' tables, a packet between the two chains while the transaction takes effect
// has passed the old rules and passes the new ones too. In the other order it would pass
// neither.
//
// POSTROUTING comes right before iptables' own: the first chain that gives a connection a
// source address decides, and others give one to all that leaves.
func AttachmentOf(f Form, table, chain string) (a Attachment, ok bool) {
	a = Attachment{Hook: chain, Kind: "filter"}
	switch table {
	case iptables.Raw:
		a.Priority = -300
	case iptables.Mangle:
		a.Priority = -150
		if chain == iptables.Output {
			// So that a packet whose mark changes is routed again.
			a.Kind = "route"
		}
	case iptables.Nat:
		a.Kind, a.Priority = "nat", destinationNAT
		if chain == iptables.Input || chain == iptables.Postrouting {
			a.Priority = sourceNAT
		}
	case "filter":
	case "security":
		a.Priority = 50
	default:
		return a, false
	}
	switch {
	case f == Native && chain == iptables.Postrouting:
		a.Priority--
	case f == Native:
		a.Priority++
	}
	return a, iptables.IsBuiltin(table, chain)
}

// The places at which nat is asked (NF_IP_PRI_NAT_DST and NF_IP_PRI_NAT_SRC), whatever the
// priorities of its chains: those only order them among each other (nf_nat_register_fn in
// net/netfilter/nf_nat_core.c).
const (
	destinationNAT = -100
	sourceNAT      = 100
)

// slot returns the place at the hook where the kernel comes to a chain.
func (a Attachment) slot() int32 {
	switch {
	case a.Kind != "nat":
		return a.Priority
	case a.Hook == iptables.Input || a.Hook == iptables.Postrouting:
		return sourceNAT
	}
	return destinationNAT
}

// compare orders attachments of one hook. Equal ones come in the order in which they were
// made, the last first (nf_hook_entries_grow in net/netfilter/core.c), which nobody can
// read.
func (a Attachment) compare(b Attachment) int {
	if a.Kind == "nat" && b.Kind == "nat" {
		return int(a.Priority) - int(b.Priority)
	}
	return int(a.slot()) - int(b.slot())
}

// Last is after every chain of a hook.
var Last = Attachment{Priority: math.MaxInt32, Kind: "filter"}

// IsNAT reports whether a chain is asked once for each connection.
func (a Attachment) IsNAT() bool { return a.Kind == "nat" }

// ComesBeforeTracking reports whether a chain sees packets before connection tracking does,
// which looks at them as they come in or are sent (NF_IP_PRI_CONNTRACK in
// linux/netfilter_ipv4.h).
func (a Attachment) ComesBeforeTracking() bool {
	switch a.Hook {
	case Ingress:
		return true
	case iptables.Prerouting, iptables.Output:
		return a.slot() < -200
	}
	return false
}

// ComesAfterNAT reports whether a chain sees packets as nat has changed them.
func (a Attachment) ComesAfterNAT() bool {
	if a.Hook == iptables.Input || a.Hook == iptables.Postrouting {
		return a.slot() > sourceNAT
	}
	return a.slot() > destinationNAT
}

// Has reports whether packets of an interface meet a chain. Chains with no devices are for
// all.
func (a Attachment) Has(device string) bool {
	return len(a.Devices) == 0 || slices.Contains(a.Devices, device)
}
