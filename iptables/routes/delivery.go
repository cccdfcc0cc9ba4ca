package routes

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
)

// lookup is a policy rule, whoever made it.
type lookup struct {
	family   iptables.Family
	priority int
	mark     uint32
	mask     uint32
	table    int
	// only says that the rule asks for more than the mark.
	only bool
	// ends says that the rule itself ends the way of packets (FR_ACT_BLACKHOLE and others
	// in linux/fib_rules.h).
	ends bool
}

func newLookup(f iptables.Family, r netlink.Rule) lookup {
	plain := netlink.NewRule()
	plain.Priority, plain.Family, plain.Protocol, plain.Type = r.Priority, r.Family, r.Protocol, r.Type
	plain.Mark, plain.Mask, plain.Table = r.Mark, r.Mask, r.Table
	l := lookup{family: f, priority: r.Priority, mark: r.Mark, mask: iptables.FullMask, table: r.Table, only: r != *plain}
	if r.Mask != nil {
		l.mask = *r.Mask
	} else if r.Mark == 0 {
		l.mask = 0
	}
	// The package does not read the action. Those that end the way name no table, as the
	// rule of VRFs does not (l3mdev), which is about no mark.
	l.ends = r.Table == unix.RT_TABLE_UNSPEC && r.Goto < 0 && l.mask != 0
	return l
}

// String returns the rule in the words of ip(8), such as "priority 2 fwmark 0x539 lookup
// 200".
func (l lookup) String() string {
	text := fmt.Sprintf("priority %d", l.priority)
	if l.mask != 0 {
		text += fmt.Sprintf(" fwmark %#x", l.mark)
		if l.mask != iptables.FullMask {
			text += fmt.Sprintf("/%#x", l.mask)
		}
	}
	if l.only {
		text += " …"
	}
	if l.ends {
		return text
	}
	return fmt.Sprintf("%s lookup %d", text, l.table)
}

// Undelivered returns why packets that TPROXY has marked do not get to a local socket, in a
// sentence without full stop, or "" if they do. Packets to an address of this machine get
// there anyway; those to others, and the answers to a proxy that keeps the address of the
// client, do not.
func (s *State) Undelivered(f iptables.Family, mark uint32) string {
	all := slices.Clone(s.lookups)
	slices.SortStableFunc(all, func(a, b lookup) int { return cmp.Compare(a.priority, b.priority) })
	for _, l := range all {
		if l.family != f || l.mask&mark != l.mark || l.table == tableLocal {
			continue
		}
		switch to := s.defaultOf(f, l.table); {
		case to == toHere && !l.only:
			return ""
		case to == toOthers && l.mask == 0 && l.table == unix.RT_TABLE_MAIN:
			return fmt.Sprintf("no %s routing rule delivers packets with the mark %#x to this machine", f, mark)
		case to == toOthers || l.ends:
			return fmt.Sprintf("the %s routing rule %q takes packets with the mark %#x elsewhere", f, l, mark)
		}
	}
	return fmt.Sprintf("no %s routing rule delivers packets with the mark %#x to this machine", f, mark)
}

// destination is where the default route of a table leads.
type destination int

const (
	nowhere destination = iota
	toHere
	toOthers
)

func (s *State) defaultOf(f iptables.Family, table int) destination {
	to := nowhere
	for _, r := range s.defaults {
		if r.Table == table && r.Family == netlinkFamily(f) {
			to = toOthers
		}
	}
	for _, o := range s.objects {
		if o.Kind == Route && o.Family == f && o.Table == uint32(table) && to == nowhere {
			to = toHere
		}
	}
	return to
}
