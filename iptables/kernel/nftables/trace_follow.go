package nftables

import (
	"slices"

	"github.com/meshtables/meshtables/iptables/kernel/nftables/internal/tables"
)

// loopback is the number of lo in every network namespace (LOOPBACK_IFINDEX in
// include/net/flow.h).
const loopback = 1

// maxTraceBefore is how many reports are kept until the packet is known.
const maxTraceBefore = 4096

// follower picks the reports about one packet. A listener also gets those about packets
// that others trace.
type follower struct {
	table tables.Key // that marks the packet
	// path are the reports about the packet so far, in order.
	path []traceReport
	// before are the latest reports until the packet is known: others may have marked it
	// before our table did.
	before []traceReport
	// packets are the ids that the packet has had, none before it is known.
	packets []uint32
	// left is the header with which it last left via lo, or empty.
	left string
}

// follow takes the next report and returns whether it is about the packet.
func (f *follower) follow(r traceReport) bool {
	switch {
	case slices.Contains(f.packets, r.packet):
	case f.packets == nil && f.marks(&r):
		f.packets = []uint32{r.packet}
		for _, b := range f.before {
			if b.packet == r.packet {
				f.path = append(f.path, b)
			}
		}
		f.before = nil
	case f.packets == nil:
		if f.before = append(f.before, r); len(f.before) > maxTraceBefore {
			f.before = slices.Delete(f.before, 0, maxTraceBefore/2)
		}
		return false
	case r.in == loopback && r.header != "" && r.header == f.left:
		// Having come in by an interface, it has another id.
		f.packets = append(f.packets, r.packet)
	default:
		return false
	}
	if r.out == loopback && r.header != "" {
		f.left = r.header
	}
	f.path = append(f.path, r)
	return true
}

// marks reports whether the report is about the rule that marks the packet. Packets that
// this rule marks later are the same one, as it comes in again or is sent again.
func (f *follower) marks(r *traceReport) bool {
	family, known := tables.FamilyOf(r.family)
	return known && f.table == (tables.Key{Family: family, Name: r.table}) && r.isRule()
}
